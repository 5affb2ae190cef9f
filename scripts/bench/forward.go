// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"
)

// forwardConfig lets users forward.
const forwardConfig = `[session]
forward = ["local"]
`

// sink prints its port, and answers "done" to a client that has sent everything. The host and every image
// of Debian have perl.
const sink = `exec perl -MIO::Socket::INET -e '$| = 1; my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1"); print $l->sockport, "\n";
while (my $c = $l->accept) { 1 while sysread $c, my $x, 1 << 18; print $c "done\n"; close $c }'`

// forwards measures the throughput of a forward into the container, beside one that ends on the host.
func forwards(ctx context.Context, quick bool, to io.Writer) error {
	lab, err := raiseWith(forwardConfig)
	if err != nil {
		return err
	}
	defer lab.Down()
	size, samples := int64(1<<30), 7
	if quick {
		size, samples = 16*mib, 1
	}
	near := map[string]string{}
	var columns []column
	for _, user := range []string{"admin", "alice"} {
		sinks := lab.SSH(user, sink)
		in, err := sinks.StdinPipe()
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := sinks.StdoutPipe()
		if err != nil {
			return err
		}
		if err := sinks.Start(); err != nil {
			return err
		}
		defer func() {
			_ = sinks.Process.Kill()
			_ = sinks.Wait()
		}()
		far, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: the sink: %w", user, err)
		}
		port, err := freePort()
		if err != nil {
			return err
		}
		client := lab.SSH(user, "-N", "-o", "ExitOnForwardFailure=yes", "-L", fmt.Sprintf("127.0.0.1:%d:127.0.0.1:%s", port, strings.TrimSpace(far)))
		if err := client.Start(); err != nil {
			return err
		}
		defer func() {
			_ = client.Process.Kill()
			_ = client.Wait()
		}()
		if err := awaitPort(ctx, port); err != nil {
			return err
		}
		near[user] = fmt.Sprintf("127.0.0.1:%d", port)
		columns = append(columns, column{ctx: ctx, name: user})
	}
	v, err := measureInterleaved(columns, samples, func(c column) (float64, error) { return forwardRate(near[c.name], size) })
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\tplain\tcontainer\tratio\tgoal\t\n%d MiB by ssh -L, MiB/s\t%s\t%s\t%s\tratio >= 0.97\t\n", size/mib, number(v[0]), number(v[1]), number(v[1]/v[0]))
	return table.Flush()
}

// forwardRate sends size bytes to address, and waits for the answer to all of them.
func forwardRate(address string, size int64) (float64, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	start := time.Now()
	block := make([]byte, mib)
	for sent := int64(0); sent < size; sent += mib {
		if _, err := conn.Write(block); err != nil {
			return 0, err
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && string(answer) != "done\n" {
		err = fmt.Errorf("the sink says %q", answer)
	}
	return rate(size, since(start)), err
}
