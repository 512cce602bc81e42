[handout]
title=handout
description=Pieces between neighbours, and who is a member of the site
ports=4747:4748/tcp|4748/udp|5353/udp
