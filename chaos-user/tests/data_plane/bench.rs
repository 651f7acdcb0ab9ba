//! A loaded object in a namespace with two devices, fed by `BPF_PROG_TEST_RUN`.

use aya::programs::{TestRun as _, TestRunOptions};
use chaos::host::boot_time;
use chaos::kernel::bpf::{Object, Sizes};
use chaos::kernel::netlink::Netlink;
use chaos::kernel::netns::NetNs;
use chaos::plan::{Request, Rule, compile};
use chaos_common::Hook;
use chaos_common::counter::{HookCounters, RuleCounters};

/// Loopback's index in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

const HOUR: u64 = 3_600_000_000_000;

pub(crate) struct Bench {
    pub(crate) object: Object,
    /// Two devices that are not loopback.
    pub(crate) devices: [u32; 2],
}

/// What a program did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) bytes: Vec<u8>,
    /// `skb->tstamp`.
    pub(crate) time: u64,
}

/// Runs a test in a namespace of its own.
pub(crate) fn bench(test: impl FnOnce(&mut Bench) + Send) {
    let netns = NetNs::anonymous().unwrap();
    let devices = netns
        .block_on(|| async {
            let (netlink, netns) = (Netlink::open().unwrap(), NetNs::current().unwrap());
            netlink.add_veth(("one", 2), ("two", 3), &netns).await.unwrap();
            [netlink.link("one").await.unwrap().index, netlink.link("two").await.unwrap().index]
        })
        .unwrap();
    netns
        .run(|| {
            let object =
                Object::load(Sizes { rules: 64, entries: 1 << 17, delays: 1, queues: 2 }).unwrap();
            object.lease().extend(u64::MAX);
            test(&mut Bench { object, devices });
        })
        .unwrap();
}

impl Bench {
    /// Brings rules into force for an hour from now. Rules that name no device have an empty list.
    pub(crate) fn arm(&mut self, rules: &[Rule], devices: &[Vec<u32>], seed: u64) {
        let now = boot_time();
        self.arm_between(rules, devices, seed, now, now + HOUR);
    }

    pub(crate) fn arm_between(
        &mut self,
        rules: &[Rule],
        devices: &[Vec<u32>],
        seed: u64,
        not_before: u64,
        not_after: u64,
    ) {
        let skip_tagged = false;
        self.install(&Request { rules, devices, not_before, not_after, seed, skip_tagged });
    }

    pub(crate) fn install(&mut self, request: &Request<'_>) {
        let tables = compile(request).unwrap().tables;
        let filled = self.object.fill(&tables).unwrap();
        self.object.flip(filled, 0);
    }

    /// Arms one rule that names no device.
    pub(crate) fn arm_one(&mut self, rule: &Rule, seed: u64) {
        self.arm(std::slice::from_ref(rule), &[Vec::new()], seed);
    }

    pub(crate) fn send(&mut self, hook: Hook, device: u32, packet: &[u8]) -> Outcome {
        self.send_at(hook, device, packet, 0)
    }

    /// With a time on it: `skb->tstamp`.
    pub(crate) fn send_at(&mut self, hook: Hook, device: u32, packet: &[u8], time: u64) -> Outcome {
        let program = match hook {
            Hook::Egress => "chaos_egress",
            _ => "chaos_ingress",
        };
        self.run(program, device, packet, time).unwrap()
    }

    /// The kernel refuses packets that are shorter than the header their ethertype promises; from
    /// which version on depends on the backports.
    pub(crate) fn send_through(
        &mut self,
        program: &'static str,
        device: u32,
        packet: &[u8],
    ) -> Option<Outcome> {
        self.run(program, device, packet, 0)
    }

    fn run(
        &mut self,
        program: &'static str,
        device: u32,
        packet: &[u8],
        time: u64,
    ) -> Option<Outcome> {
        /// Offsets in `struct __sk_buff`.
        const IFINDEX: usize = 40;
        const TSTAMP: usize = 152;
        let mut context = [0; TSTAMP + 8];
        if device != LOOPBACK {
            context[IFINDEX..][..4].copy_from_slice(&device.to_ne_bytes());
        }
        context[TSTAMP..].copy_from_slice(&time.to_ne_bytes());
        // The kernel insists on returning all of it.
        let mut after = [0; 256];
        let mut bytes = vec![0; packet.len() + 256];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut bytes),
            ctx_in: Some(&context),
            ctx_out: Some(&mut after),
            ..TestRunOptions::default()
        };
        let program = self.object.classifier(program).unwrap();
        let result = match program.test_run(options) {
            Ok(result) => result,
            Err(error) if packet.len() < 14 + 40 && is_einval(&error) => return None,
            Err(error) => panic!("test run of {packet:02x?}: {error:?}"),
        };
        bytes.truncate(result.data_size_out as usize);
        let mut time = [0; 8];
        time.copy_from_slice(&after[TSTAMP..][..8]);
        let code = result.return_value.cast_signed();
        Some(Outcome { code, bytes, time: u64::from_ne_bytes(time) })
    }

    pub(crate) fn rule(&self, slot: usize) -> RuleCounters {
        self.object.counters().unwrap().rule(slot as u32).unwrap()
    }

    pub(crate) fn hook(&self, hook: Hook) -> HookCounters {
        *self.object.counters().unwrap().hooks().unwrap().hook(hook)
    }

    pub(crate) fn sequences(&self, count: usize) -> Vec<u64> {
        (0..count as u32).map(|slot| self.object.sequence(slot).unwrap()).collect()
    }
}

fn is_einval(error: &aya::programs::ProgramError) -> bool {
    match error {
        aya::programs::ProgramError::SyscallError(error) => {
            error.io_error.raw_os_error() == Some(libc::EINVAL)
        }
        _ => false,
    }
}

/// From CHAOS_TEST_SEED, else a new one; printed either way.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("CHAOS_TEST_SEED").ok().map(|text| text.parse().unwrap());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        chaos_common::decide::mix(now.as_nanos() as u64, u64::from(std::process::id()))
    });
    println!("CHAOS_TEST_SEED={seed}");
    seed
}

/// So many on a processor, and a quarter where it is emulated.
pub(crate) fn fewer_if_slow(count: u32) -> u32 {
    if std::env::var_os("CHAOS_TEST_SLOWNESS").is_some() { count / 4 } else { count }
}
