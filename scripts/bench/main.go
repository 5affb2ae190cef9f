// SPDX-License-Identifier: Apache-2.0

// bench measures berth side by side with the same sshd without it and with
// `docker exec` as the ForceCommand: one run, one host, one container, the columns
// in turns, so that whatever else the machine does meets all alike. It prints
// medians, ratios, and the goals. It needs root, and says nothing by its exit
// status about good or bad.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	quick := flag.Bool("quick", false, "few samples and little data: does it run at all")
	only := flag.String("only", "", "one table: transports, own, sessions or forwards")
	flag.Parse()
	parts := []struct {
		name string
		run  func(ctx context.Context, quick bool, to io.Writer) error
	}{{"transports", run}, {"own", own}, {"sessions", room}, {"forwards", forwards}}
	// The children are killed, what was raised is cleared.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	done := false
	for _, part := range parts {
		if *only != "" && *only != part.name {
			continue
		}
		done = true
		if err := part.run(ctx, *quick, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	if !done {
		fmt.Fprintf(os.Stderr, "bench: -only %s: there is no such table\n", *only)
		os.Exit(2)
	}
}

// bench is one run.
type bench struct {
	quick  bool
	lab    string
	direct []column // a connection for each command
	shared []column // one connection for all commands of a column
	rows   []row
}

func run(ctx context.Context, quick bool, to io.Writer) error {
	lab, err := raiseWith(config)
	if err != nil {
		return err
	}
	defer lab.Down()
	b := &bench{quick: quick, lab: lab.Dir}
	if b.direct, err = prepare(ctx, lab); err != nil {
		return err
	}
	closeAll, err := b.share()
	defer closeAll()
	if err != nil {
		return err
	}
	for _, measure := range []func() error{b.logins, b.commands, b.shells, b.echo, b.bulk, b.screen, b.memory, b.loginsAtOnce, b.loginsInCrowd} {
		if err := measure(); err != nil {
			return err
		}
	}
	return b.print(to)
}

// count is n, or for a quick run less.
func (b *bench) count(n, less int) int {
	if b.quick {
		return less
	}
	return n
}
