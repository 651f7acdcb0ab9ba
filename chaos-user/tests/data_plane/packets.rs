//! Packets described by what they are, and the bytes that follow from it.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type,
    IpAuthHeader, IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, Ipv6RawExtHeader,
    SingleVlanHeader, TcpHeader, UdpHeader, VlanId,
};

pub(crate) const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// What is behind the IP headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With these flags.
    Tcp(u8),
    Udp,
    Echo,
    /// Destination unreachable.
    IcmpError,
    /// Neighbour solicitation (v6).
    Neighbour,
    Sctp,
    /// A protocol without ports.
    Gre,
}

/// Which piece of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Whole,
    First,
    Later,
}

/// An IPv6 extension header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    HopByHop,
    Routing,
    Destination,
    /// Longer than the shortest.
    LongDestination,
    Authentication,
}

#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) kind: Kind,
    /// Source and destination.
    pub(crate) ports: (u16, u16),
    pub(crate) piece: Piece,
    /// VLAN tags.
    pub(crate) tags: usize,
    /// v6 only.
    pub(crate) extensions: Vec<Extension>,
    /// v4 only: with IP options.
    pub(crate) options: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
}

impl Sample {
    pub(crate) fn new(source: &str, destination: &str, kind: Kind, ports: (u16, u16)) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            kind,
            ports,
            piece: Piece::Whole,
            tags: 0,
            extensions: Vec::new(),
            options: false,
            payload: b"a payload of some bytes".to_vec(),
            sequence: 0x1234_5678,
            acknowledgement: 0x9abc_def0,
        }
    }

    pub(crate) fn protocol(&self) -> u8 {
        match (self.kind, self.source.is_ipv4()) {
            (Kind::Tcp(_), _) => 6,
            (Kind::Udp, _) => 17,
            (Kind::Sctp, _) => 132,
            (Kind::Gre, _) => 47,
            (Kind::Echo | Kind::IcmpError | Kind::Neighbour, true) => 1,
            (Kind::Echo | Kind::IcmpError | Kind::Neighbour, false) => 58,
        }
    }

    /// Whether a rule on ports can say anything about it.
    pub(crate) fn shows_ports(&self) -> bool {
        self.piece != Piece::Later && matches!(self.kind, Kind::Tcp(_) | Kind::Udp | Kind::Sctp)
    }

    pub(crate) fn is_syn(&self) -> bool {
        self.piece != Piece::Later && matches!(self.kind, Kind::Tcp(flags) if flags & SYN != 0)
    }

    /// Whether it refuses something itself.
    pub(crate) fn is_refusal(&self) -> bool {
        self.piece != Piece::Later
            && match self.kind {
                Kind::Tcp(flags) => flags & RST != 0,
                Kind::IcmpError => true,
                _ => false,
            }
    }

    /// Length of everything in front of the transport header.
    pub(crate) fn headers(&self) -> usize {
        let transport = self.transport().len();
        self.bytes().len() - transport
    }

    /// Bytes from the transport header on that a classifier needs to know all about the packet.
    pub(crate) fn needed(&self) -> usize {
        if self.piece == Piece::Later {
            return 0;
        }
        match self.kind {
            Kind::Tcp(_) => 14,
            Kind::Udp | Kind::Sctp => 4,
            Kind::Echo | Kind::IcmpError | Kind::Neighbour => 1,
            Kind::Gre => 0,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let transport = self.transport();
        let (ip, ethertype) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let protocol = IpNumber(self.protocol());
                let length = transport.len() as u16;
                let (source, destination) = (source.octets(), destination.octets());
                let mut header =
                    Ipv4Header::new(length, 64, protocol, source, destination).unwrap();
                header.more_fragments = self.piece == Piece::First;
                if self.piece == Piece::Later {
                    header.fragment_offset = IpFragOffset::try_new(185).unwrap();
                }
                if self.options {
                    header.options = [1, 1, 1, 1, 1, 1, 1, 0].into();
                    header.set_payload_len(transport.len()).unwrap();
                }
                header.header_checksum = header.calc_header_checksum();
                (header.to_bytes().to_vec(), EtherType::IPV4)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (next_header, extensions) = self.extension_bytes();
                let header = Ipv6Header {
                    payload_length: (extensions.len() + transport.len()) as u16,
                    next_header,
                    hop_limit: 64,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                };
                ([header.to_bytes().to_vec(), extensions].concat(), EtherType::IPV6)
            }
            _ => panic!("two families in one packet"),
        };
        let multicast = self.destination.is_multicast();
        let outermost =
            [ethertype, EtherType::VLAN_TAGGED_FRAME, EtherType::PROVIDER_BRIDGING][self.tags];
        let ethernet = Ethernet2Header {
            source: NEAR,
            destination: if multicast { GROUP } else { FAR },
            ether_type: outermost,
        };
        let mut bytes = ethernet.to_bytes().to_vec();
        for tag in (0..self.tags).rev() {
            let ether_type = if tag == 0 { ethertype } else { EtherType::VLAN_TAGGED_FRAME };
            let vlan_id = VlanId::try_new(7 + tag as u16).unwrap();
            let header = SingleVlanHeader { vlan_id, ether_type, ..SingleVlanHeader::default() };
            bytes.extend(header.to_bytes());
        }
        bytes.extend(ip);
        bytes.extend(transport);
        bytes
    }

    /// The value of the IPv6 header's next-header field, and the headers it leads to.
    fn extension_bytes(&self) -> (IpNumber, Vec<u8>) {
        let mut next = IpNumber(self.protocol());
        let mut bytes = Vec::new();
        if self.piece != Piece::Whole {
            // RFC 8200, 4.5; etherparse writes offset and flag at the wrong bits.
            let field: u16 = if self.piece == Piece::Later { 185 << 3 } else { 1 };
            let [high, low] = field.to_be_bytes();
            bytes = vec![next.0, 0, high, low, 0, 0, 0, 77];
            next = IpNumber::IPV6_FRAGMENTATION_HEADER;
        }
        for extension in self.extensions.iter().rev() {
            let raw = |payload: &[u8]| {
                Ipv6RawExtHeader::new_raw(next, payload).unwrap().to_bytes().to_vec()
            };
            let (header, number) = match extension {
                Extension::HopByHop => (raw(&[1, 4, 0, 0, 0, 0]), IpNumber::IPV6_HEADER_HOP_BY_HOP),
                Extension::Routing => (raw(&[4, 0, 0, 0, 0, 0]), IpNumber::IPV6_ROUTE_HEADER),
                Extension::Destination => {
                    (raw(&[1, 4, 0, 0, 0, 0]), IpNumber::IPV6_DESTINATION_OPTIONS)
                }
                Extension::LongDestination => (raw(&[0; 22]), IpNumber::IPV6_DESTINATION_OPTIONS),
                Extension::Authentication => (
                    IpAuthHeader::new(next, 1, 2, &[0; 12]).unwrap().to_bytes().to_vec(),
                    IpNumber::AUTHENTICATION_HEADER,
                ),
            };
            bytes = [header, bytes].concat();
            next = number;
        }
        (next, bytes)
    }

    fn transport(&self) -> Vec<u8> {
        if self.piece == Piece::Later {
            return self.payload.clone();
        }
        let (source_port, destination_port) = self.ports;
        let header = match self.kind {
            Kind::Tcp(flags) => {
                let mut header =
                    TcpHeader::new(source_port, destination_port, self.sequence, 64_000);
                header.fin = flags & FIN != 0;
                header.syn = flags & SYN != 0;
                header.rst = flags & RST != 0;
                header.ack = flags & ACK != 0;
                if header.ack {
                    header.acknowledgment_number = self.acknowledgement;
                }
                header.checksum = match (self.source, self.destination) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => header
                        .calc_checksum_ipv4_raw(
                            source.octets(),
                            destination.octets(),
                            &self.payload,
                        )
                        .unwrap(),
                    (IpAddr::V6(source), IpAddr::V6(destination)) => header
                        .calc_checksum_ipv6_raw(
                            source.octets(),
                            destination.octets(),
                            &self.payload,
                        )
                        .unwrap(),
                    _ => 0,
                };
                header.to_bytes().to_vec()
            }
            Kind::Udp => {
                let length = (8 + self.payload.len()) as u16;
                UdpHeader { source_port, destination_port, length, checksum: 0 }.to_bytes().to_vec()
            }
            Kind::Sctp => {
                let [a, b] = source_port.to_be_bytes();
                let [c, d] = destination_port.to_be_bytes();
                vec![a, b, c, d, 0, 0, 0, 9, 0, 0, 0, 0]
            }
            Kind::Gre => vec![0, 0, 8, 0],
            Kind::Echo | Kind::IcmpError | Kind::Neighbour => self.icmp(),
        };
        [header, self.payload.clone()].concat()
    }

    fn icmp(&self) -> Vec<u8> {
        let echo = IcmpEchoHeader { id: 3, seq: 4 };
        match (self.source, self.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (type_u8, code_u8, bytes5to8) = match self.kind {
                    Kind::IcmpError => (1, 4, [0; 4]),
                    Kind::Neighbour => (135, 0, [0; 4]),
                    _ => (128, 0, echo.to_bytes()),
                };
                let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
                let (source, destination) = (source.octets(), destination.octets());
                Icmpv6Header::with_checksum(kind, source, destination, &self.payload)
                    .unwrap()
                    .to_bytes()
                    .to_vec()
            }
            _ => {
                let kind = if self.kind == Kind::IcmpError {
                    Icmpv4Type::Unknown { type_u8: 3, code_u8: 3, bytes5to8: [0; 4] }
                } else {
                    Icmpv4Type::EchoRequest(echo)
                };
                Icmpv4Header::with_checksum(kind, &self.payload).to_bytes().to_vec()
            }
        }
    }
}

/// One of every shape that must be told apart, in both families; each a flow of its own.
pub(crate) fn shapes() -> Vec<Sample> {
    let mut all = Vec::new();
    let families = [("10.1.0.5", "10.2.0.9"), ("fd01::5", "fd02::9")];
    for (source, destination) in families {
        let mut port = 40_000;
        let mut add = |kind, change: &dyn Fn(&mut Sample)| {
            port += 1;
            let mut sample = Sample::new(source, destination, kind, (port, 443));
            change(&mut sample);
            all.push(sample);
        };
        for kind in [
            Kind::Tcp(SYN),
            Kind::Tcp(SYN | ACK),
            Kind::Tcp(ACK),
            Kind::Tcp(RST),
            Kind::Tcp(FIN | ACK),
            Kind::Udp,
            Kind::Echo,
            Kind::IcmpError,
            Kind::Sctp,
            Kind::Gre,
        ] {
            add(kind, &|_| ());
        }
        for kind in [Kind::Udp, Kind::Tcp(ACK), Kind::Echo] {
            for piece in [Piece::First, Piece::Later] {
                add(kind, &|sample| sample.piece = piece);
            }
            for tags in [1, 2] {
                add(kind, &|sample| sample.tags = tags);
            }
        }
        add(Kind::Tcp(ACK), &|sample| sample.payload.clear());
        add(Kind::Udp, &|sample| sample.payload.resize(1400, 7));
        if source.contains('.') {
            for kind in [Kind::Udp, Kind::Tcp(ACK), Kind::Echo] {
                add(kind, &|sample| sample.options = true);
            }
            continue;
        }
        use Extension::{Authentication, Destination, HopByHop, LongDestination, Routing};
        for chain in [
            vec![HopByHop],
            vec![Destination],
            vec![LongDestination],
            vec![Routing],
            vec![Authentication],
            vec![HopByHop, Routing, Authentication, Destination],
            vec![HopByHop, Destination, Routing, Authentication, LongDestination, Destination],
        ] {
            for kind in [Kind::Udp, Kind::Tcp(ACK), Kind::Echo, Kind::Gre] {
                add(kind, &|sample| sample.extensions.clone_from(&chain));
            }
        }
        add(Kind::Udp, &|sample| {
            sample.extensions = vec![HopByHop];
            sample.piece = Piece::Later;
        });
    }
    all
}
