//! What must happen to a packet, worked out the slow way: every rule, every part of its selector,
//! one after the other on the packet's description. Shares nothing with the compiler of rules or
//! the classifier but the seeded decisions, which must be equal bit for bit.

use std::net::IpAddr;

use chaos::experiment::units::{Direction, Percent};
use chaos::plan::{Action, Answer, Checksum, Connections, Corrupt, Duplicate, Loss, Rule};
use chaos_common::Hook;
use chaos_common::decide::{self, Endpoints};

use crate::changes::corrupted;
use crate::packets::{Kind, Piece, Sample};

pub(crate) const NEXT: i32 = -1;
pub(crate) const SHOT: i32 = 2;
pub(crate) const REDIRECT: i32 = 7;

/// The slow classifier, with the state that rules carry from packet to packet.
#[derive(Debug)]
pub(crate) struct Oracle<'a> {
    rules: &'a [Rule],
    devices: &'a [Vec<u32>],
    seed: u64,
    /// Next decision number, or chain state, by rule.
    pub(crate) sequences: Vec<u64>,
    pub(crate) matched: Vec<u64>,
    pub(crate) acted: Vec<u64>,
    pub(crate) bytes: Vec<u64>,
}

/// What must happen to one packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The program's return code; several where rules disagree on how to answer.
    pub(crate) codes: Vec<i32>,
    /// Rules that choose the packet, whatever share of flows or age they want.
    pub(crate) candidates: usize,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(
        rules: &'a [Rule],
        devices: &'a [Vec<u32>],
        seed: u64,
        sequences: Vec<u64>,
    ) -> Self {
        let zeros = vec![0; rules.len()];
        let (matched, acted, bytes) = (zeros.clone(), zeros.clone(), zeros);
        Self { rules, devices, seed, sequences, matched, acted, bytes }
    }

    pub(crate) fn meet(&mut self, hook: Hook, device: u32, sample: &Sample) -> Expected {
        let pass = |candidates| Expected { codes: vec![NEXT], candidates };
        if sample.kind == Kind::Neighbour || sample.extensions.len() > 6 {
            return pass(0);
        }
        let flow = flow(hook, sample);
        let candidates: Vec<usize> =
            (0..self.rules.len()).filter(|&i| self.fits(i, hook, device, sample, &flow)).collect();
        let hash = decide::flow_hash(self.seed, &flow);
        let chosen: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|&i| {
                let selector = &self.rules[i].selector;
                let share = selector.flows.is_none_or(|flows| hash >> 32 < fraction(flows));
                let tcp = matches!(sample.kind, Kind::Tcp(_));
                let age = match selector.connections {
                    None => true,
                    // Each sample is a connection of its own, never seen before.
                    Some(Connections::New) => tcp && sample.is_syn(),
                    Some(Connections::Established) => tcp && !sample.is_syn(),
                };
                share && age
            })
            .collect();
        if chosen.iter().any(|&i| self.rules[i].action == Action::Protect) {
            return pass(candidates.len());
        }
        let (mut lost, mut answers) = (false, Vec::new());
        for &i in &chosen {
            if changes(&self.rules[i].action) {
                continue;
            }
            self.matched[i] += 1;
            let acts = match &self.rules[i].action {
                Action::Protect => false,
                Action::Reject(_) => !sample.is_refusal(),
                Action::Drop(loss) => self.loses(i, *loss),
                other => panic!("a bucket depends on the clock: {other}"),
            };
            if !acts {
                continue;
            }
            self.acts(i, sample);
            match &self.rules[i].action {
                Action::Reject(reject) => answers.push(reject.answer),
                _ => lost = true,
            }
        }
        let nowhere = if hook == Hook::Egress { REDIRECT } else { SHOT };
        let codes = if answers.is_empty() {
            vec![if lost { nowhere } else { NEXT }]
        } else {
            let code = |&answer| if answerable(sample, answer) { REDIRECT } else { nowhere };
            answers.iter().map(code).collect()
        };
        if codes == [NEXT] {
            self.change(&chosen, sample);
        }
        Expected { codes, candidates: candidates.len() }
    }

    /// Rules that change packets decide about those that are not lost. No detour is set.
    fn change(&mut self, chosen: &[usize], sample: &Sample) {
        // One bit is flipped: what checksums detect goes first, then the first rule.
        let mut flips = None;
        for &i in chosen {
            let n = self.sequences[i];
            match self.rules[i].action {
                Action::Corrupt(Corrupt { share, checksum }) => {
                    self.matched[i] += 1;
                    // It takes a number even if it is for every packet: that chooses the bit.
                    let always = share == Loss::Always;
                    self.sequences[i] += u64::from(always);
                    if always || self.loses(i, share) {
                        let this = (checksum == Checksum::Silent, i, n);
                        flips = Some(flips.map_or(this, |other| this.min(other)));
                    }
                }
                Action::Duplicate(Duplicate { share, .. }) => {
                    self.matched[i] += 1;
                    if self.loses(i, share) {
                        self.acts(i, sample);
                    }
                }
                _ => {}
            }
        }
        if let Some((silent, i, n)) = flips {
            let checksum = if silent { Checksum::Silent } else { Checksum::Detected };
            let draw = decide::corruption(decide::mix(self.seed, i as u64), n);
            if corrupted(sample, checksum, draw).is_some() {
                self.acts(i, sample);
            }
        }
    }

    fn acts(&mut self, i: usize, sample: &Sample) {
        self.acted[i] += 1;
        self.bytes[i] += sample.bytes().len() as u64;
    }

    fn fits(&self, i: usize, hook: Hook, device: u32, sample: &Sample, flow: &Endpoints) -> bool {
        let selector = &self.rules[i].selector;
        let (local, remote) = match hook {
            Hook::Egress => (sample.source, sample.destination),
            _ => (sample.destination, sample.source),
        };
        let direction = match selector.direction {
            Direction::To => hook == Hook::Egress,
            Direction::From => hook == Hook::Ingress,
            Direction::Both => true,
        };
        let inside = |prefixes: &[chaos::experiment::units::Prefix], address: IpAddr| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| covers(*prefix, address))
        };
        let among = |ranges: &[chaos::experiment::units::PortRange], port: u16| {
            ranges.is_empty()
                || sample.shows_ports()
                    && ranges.iter().any(|range| (range.first()..=range.last()).contains(&port))
        };
        let devices = &self.devices[i];
        direction
            && (devices.is_empty() || devices.contains(&device))
            && selector.protocol.is_none_or(|protocol| protocol.number() == sample.protocol())
            && inside(&selector.local, local)
            && inside(&selector.remote, remote)
            && among(&selector.local_ports, flow.local_port)
            && among(&selector.remote_ports, flow.remote_port)
    }

    fn loses(&mut self, i: usize, loss: Loss) -> bool {
        let seed = decide::mix(self.seed, i as u64);
        let n = self.sequences[i];
        let (next, lost) = match loss {
            Loss::Always => return true,
            Loss::Random(share) => (n + 1, decide::random(seed, n, fraction(share))),
            Loss::Exact(share) => (n + 1, decide::exact(seed, n, u64::from(share.ppb()))),
            Loss::EveryNth(every) => (n + 1, (n + 1).is_multiple_of(u64::from(every))),
            Loss::GilbertElliott { p, r, loss_in_bad, loss_in_good } => {
                let parameters = [p, r, loss_in_bad, loss_in_good].map(fraction);
                decide::gilbert_elliott(seed, n, &parameters)
            }
        };
        self.sequences[i] = next;
        lost
    }
}

/// Whether an action is for packets that are not lost.
fn changes(action: &Action) -> bool {
    matches!(action, Action::Corrupt(_) | Action::Duplicate(_) | Action::Detour(_))
}

/// Bit by bit.
fn covers(prefix: chaos::experiment::units::Prefix, address: IpAddr) -> bool {
    let (one, other, width) = match (prefix.address(), address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let differing = one ^ other;
    (0..prefix.length()).all(|bit| differing >> (width - 1 - bit) & 1 == 0)
}

fn flow(hook: Hook, sample: &Sample) -> Endpoints {
    let (mut source, mut destination) =
        ((sample.source, sample.ports.0), (sample.destination, sample.ports.1));
    if hook != Hook::Egress {
        std::mem::swap(&mut source, &mut destination);
    }
    let port = |port| if sample.shows_ports() { port } else { 0 };
    Endpoints {
        local: words(source.0),
        remote: words(destination.0),
        local_port: port(source.1),
        remote_port: port(destination.1),
        protocol: sample.protocol(),
    }
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            std::array::from_fn(|i| {
                u32::from_ne_bytes(std::array::from_fn(|byte| octets[i * 4 + byte]))
            })
        }
    }
}

fn fraction(share: Percent) -> u64 {
    (f64::from(share.ppb()) * 4.294_967_296).round() as u64
}

/// Whether the sender of this packet can be told.
pub(crate) fn answerable(sample: &Sample, answer: Answer) -> bool {
    if sample.piece == Piece::Later || sample.tags > 0 {
        return false;
    }
    if sample.destination.is_multicast() || sample.source.is_unspecified() {
        return false;
    }
    let reset = answer == Answer::Auto && matches!(sample.kind, Kind::Tcp(_));
    reset || (!sample.options && sample.extensions.is_empty() && no_fragment_header(sample))
}

fn no_fragment_header(sample: &Sample) -> bool {
    sample.source.is_ipv4() || sample.piece == Piece::Whole
}
