package harness

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

// What the kernel says of the other end of a connection over loopback.

// The parts of struct inet_diag_req_v2 (linux/inet_diag.h) that are looked at; addresses and ports in network order.
const (
	diagHeader   = unix.NLMSG_HDRLEN
	diagRequest  = 56
	diagStates   = diagHeader + 4
	diagPorts    = diagHeader + 8 // of the socket, then of its peer
	diagSource   = diagHeader + 12
	diagPeer     = diagHeader + 28
	diagCookie   = diagHeader + 48 // two words of ones: whichever it is
	diagByFamily = 20              // SOCK_DIAG_BY_FAMILY

	tcpEstablished = 1
)

// HeldByPeer tells whether the far end of a connection over IPv4 has not closed its socket. There a close counts at once;
// here it counts when the kernel gets round to it, which it does not while somebody is inside this socket.
func HeldByPeer(conn net.Conn) bool {
	state, err := stateOf(conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr))
	return err == nil && state == tcpEstablished
}

// stateOf is the state of the TCP socket that has these addresses; an error if there is none.
func stateOf(own, peer *net.TCPAddr) (state byte, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	ask := make([]byte, diagHeader+diagRequest)
	native, network := binary.NativeEndian, binary.BigEndian
	native.PutUint32(ask, uint32(len(ask)))
	native.PutUint16(ask[4:], diagByFamily)
	native.PutUint16(ask[6:], unix.NLM_F_REQUEST)
	ask[diagHeader], ask[diagHeader+1] = unix.AF_INET, unix.IPPROTO_TCP
	native.PutUint32(ask[diagStates:], ^uint32(0))
	network.PutUint16(ask[diagPorts:], uint16(own.Port))
	network.PutUint16(ask[diagPorts+2:], uint16(peer.Port))
	copy(ask[diagSource:], own.IP.To4())
	copy(ask[diagPeer:], peer.IP.To4())
	native.PutUint64(ask[diagCookie:], ^uint64(0))
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, err
	}
	if n < diagHeader+4 || native.Uint16(answer[4:]) != diagByFamily {
		return 0, unix.ENOENT
	}
	return answer[diagHeader+1], nil
}
