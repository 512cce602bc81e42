package main

import (
	"context"
	"errors"
	"fmt"

	"handout/testlab/hostile"
	"handout/testlab/lab"
)

// attacked: what honest work is left of an agent that one machine of the LAN attacks at every door.
func attacked(ctx context.Context, b *bench) error {
	o, err := hostile.Besiege(ctx, b.program, b.dir, 128<<20)
	if errors.Is(err, lab.ErrUnavailable) {
		fmt.Println("  left out:", err)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Printf("  128 MiB from it over 100 Mbit/s: %.2f s, under attack %.2f s: %.2f of its rate (wanted: 0.8)\n",
		o.Quiet.Seconds(), o.Besieged.Seconds(), o.Quiet.Seconds()/o.Besieged.Seconds())
	const mib = 1 << 20
	fmt.Printf("  memory of its own %.0f MiB before, %.0f at most, %.0f afterwards; descriptors %d, %d, %d; its engine restarted: %v\n",
		float64(o.Before.Bytes)/mib, float64(o.Peak.Bytes)/mib, float64(o.After.Bytes)/mib,
		o.Before.Descriptors, o.Peak.Descriptors, o.After.Descriptors, o.Restarted)
	return nil
}
