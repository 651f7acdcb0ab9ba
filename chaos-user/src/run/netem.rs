//! netem for whole devices.

use super::event::RuleText;
use super::world::{ActiveFault, Proof, Trouble};
use crate::experiment::{NetemSpec, Span};
use crate::fault::{ActiveWholeDevice, FaultError, Journal, RootNetemHealed, WholeDevice};
use crate::host::operator_sessions;
use crate::kernel::netns::NetNs;
use crate::plan::growth;

/// What it will do, device by device.
pub(super) fn explain(name: &str, spec: &NetemSpec) -> Vec<RuleText> {
    let grows = growth::words(spec.ramp);
    let text = |device: &String| RuleText {
        rule: format!("{name}: {device}"),
        text: format!("whole device: {}{grows}", spec.netem),
    };
    spec.devices.iter().map(text).collect()
}

/// Puts it on all devices, or on none.
pub(super) fn inject(
    journal: &Journal,
    name: &str,
    spec: &NetemSpec,
    lasts: Span,
    netns: &NetNs,
) -> Result<Box<dyn ActiveFault>, Trouble> {
    let failed = |error: FaultError| Trouble::new(&error, error.exit());
    let mut active = Vec::new();
    for device in &spec.devices {
        let fault = WholeDevice {
            name: name.to_owned(),
            netns: netns.clone(),
            device: device.clone(),
            netem: spec.netem.clone(),
            lasts,
            ramp: spec.ramp,
            force: spec.force,
            even_if_locked_out: false,
            sessions: if spec.node.is_none() { operator_sessions() } else { Vec::new() },
        };
        // On an error the ones before are healed by dropping them.
        active.push(fault.start_in(journal).map_err(failed)?);
    }
    Ok(Box::new(Injected(active)))
}

struct Injected(Vec<ActiveWholeDevice>);

impl ActiveFault for Injected {
    fn heal(self: Box<Self>) -> Result<Proof, Trouble> {
        let (mut evidence, mut remarks, mut trouble) = (Vec::new(), Vec::new(), None);
        for mut one in self.0 {
            // A device that is gone is told by healing.
            let _ = one.counts();
            remarks.extend(one.remarks());
            match one.heal() {
                Ok((_, rule, restored)) => {
                    if let RootNetemHealed::AsFarAsPossible { difference } = restored {
                        remarks.push(difference);
                    }
                    evidence.push(rule);
                }
                Err(error) => trouble = Some(Trouble::new(&error, error.exit())),
            }
        }
        trouble.map_or(Ok((evidence, remarks).into()), Err)
    }
}
