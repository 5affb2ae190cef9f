// SPDX-License-Identifier: Apache-2.0

// Command rig is what the tests of forwarding run inside a container, and against it:
//
//	rig serve ADDRESS   greets whoever connects, reads to the end, says how many bytes came
//	rig dial ADDRESS    prints what is said at ADDRESS
//	rig sshd ADDRESS    an ssh server that lets everybody in and says "jumped"
//
// A server prints where it listens, and ends with its input.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: rig serve|dial|sshd ADDRESS")
	}
	serve := map[string]func(net.Conn){"serve": greet, "sshd": jump}[os.Args[1]]
	if serve == nil {
		dial(os.Args[2])
		return
	}
	l, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		fail(err)
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				fail(err)
			}
			go serve(conn)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, "rig:", why)
	os.Exit(1)
}

func greet(conn net.Conn) {
	defer conn.Close()
	if _, err := io.WriteString(conn, "inside\n"); err != nil {
		return
	}
	n, err := io.Copy(io.Discard, conn)
	if err == nil {
		fmt.Fprintf(conn, "%d bytes\n", n)
	}
}

func dial(address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fail(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		fail(err)
	}
}

func jump(conn net.Conn) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fail(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		fail(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, requests, err := wanted.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					_, _ = io.WriteString(channel, "jumped\n")
					_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
					channel.Close()
				}
			}
		}()
	}
}
