// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// socks4 asks a SOCKS 4 proxy for a connection to target
// (https://www.openssh.com/txt/socks4.protocol).
func socks4(proxy io.ReadWriter, target string) error {
	address, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	ip := address.Addr().As4()
	ask := append(binary.BigEndian.AppendUint16([]byte{4, 1}, address.Port()), append(ip[:], 0)...)
	return dialogue(proxy, ask, []byte{0, 90}, 8)
}

// socks5 asks one of version 5 (RFC 1928), which looks the name up.
func socks5(proxy io.ReadWriter, target string) error {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	if err := dialogue(proxy, []byte{5, 1, 0}, []byte{5, 0}, 2); err != nil {
		return err
	}
	ask := append([]byte{5, 1, 0, 3, byte(len(host))}, host...)
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	return dialogue(proxy, binary.BigEndian.AppendUint16(ask, uint16(number)), []byte{5, 0}, 10)
}

// dialogue says ask, and reads size bytes that must begin with answer.
func dialogue(proxy io.ReadWriter, ask, answer []byte, size int) error {
	if _, err := proxy.Write(ask); err != nil {
		return err
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(proxy, got); err != nil {
		return err
	}
	if !bytes.HasPrefix(got, answer) {
		return fmt.Errorf("the proxy says %v", got)
	}
	return nil
}
