"""A libtorrent peer for the benchmark: fetches a torrent, makes a file when it has all of it, and goes on seeding.

usage: peer.py TORRENT FOLDER MARKER
"""
import sys
import time

import libtorrent

torrent, folder, marker = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": "0.0.0.0:6881",
    # What finds peers in a LAN stays on, and is repeated as often as it may be.
    "enable_lsd": True,
    "local_service_announce_interval": 5,
    "min_announce_interval": 5,
    "enable_dht": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # TCP alone: uTP yields to other traffic, and there is none.
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "unchoke_slots_limit": 20,
})
handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": folder})
while not handle.status().is_seeding:
    time.sleep(0.02)
open(marker, "w").close()
while True:
    time.sleep(60)
