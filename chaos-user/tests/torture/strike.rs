//! Striking.

use std::path::Path;
use std::process::Child;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use nix::unistd::Pid;

use crate::bench::{Bench, delete_device};
use crate::plan::Blow;
use crate::state::processes;

/// The processes of a run, as far as there are any.
pub(crate) struct Victims {
    controller: Pid,
    guardian: Option<Pid>,
}

impl Victims {
    pub(crate) fn find(child: &Child, state: &Path) -> Self {
        let controller = Pid::from_raw(child.id().cast_signed());
        let guards = |line: &str| line.split(' ').nth(1) == Some("guardian");
        let guardian = processes(state).into_iter().find(|(_, line)| guards(line));
        Self { controller, guardian: guardian.map(|(pid, _)| Pid::from_raw(pid)) }
    }
}

/// What makes the machine ready for the next run again.
pub(crate) type Repair = fn(&mut Bench);

/// Strikes; the processes may be gone already.
pub(crate) fn strike(bench: &mut Bench, blow: Blow, victims: &Victims) -> Repair {
    let Victims { controller, guardian } = victims;
    let to_guardian = |signal| guardian.map(|guardian| kill(guardian, signal));
    match blow {
        Blow::KillController => drop(kill(*controller, Signal::SIGKILL)),
        Blow::KillGuardian => drop(to_guardian(Signal::SIGKILL)),
        Blow::KillBoth => {
            // Stopped first, so that neither can act on the other's death.
            let _ = kill(*controller, Signal::SIGSTOP);
            let _ = to_guardian(Signal::SIGKILL);
            let _ = kill(*controller, Signal::SIGKILL);
        }
        Blow::StopController => {
            let _ = kill(*controller, Signal::SIGSTOP);
            // A run without a guardian has touched nothing yet, and nobody but its user ends it.
            if guardian.is_none() {
                let _ = kill(*controller, Signal::SIGCONT);
            }
        }
        Blow::StopGuardian => drop(to_guardian(Signal::SIGSTOP)),
        Blow::Terminate => drop(killpg(*controller, Signal::SIGTERM)),
        Blow::HangUp => drop(killpg(*controller, Signal::SIGHUP)),
        Blow::CloseTerminal => bench.close_terminal(),
        Blow::FillDisk => {
            let path = bench.state().join("ballast");
            let mut size = 1 << 20;
            while size > 0 {
                let more = vec![0_u8; size];
                use std::io::Write as _;
                let file = std::fs::File::options().create(true).append(true).open(&path);
                if file.and_then(|mut file| file.write_all(&more)).is_err() {
                    size /= 2;
                }
            }
            return |bench| std::fs::remove_file(bench.state().join("ballast")).unwrap();
        }
        Blow::FreezeFolder => {
            // Refused while a file is open for writing, which is what makes it a race; a run that
            // has its journal open keeps it.
            remount(bench.state(), MsFlags::MS_RDONLY);
            return |bench| remount(bench.state(), MsFlags::empty());
        }
        Blow::DeleteDevice => {
            delete_device(bench.netns());
            return |bench| bench.make_device();
        }
        Blow::DeleteNamespace => {
            bench.renew();
            let _ = kill(*controller, Signal::SIGKILL);
        }
        Blow::JumpForward => {
            jump(DAY);
            return |_| jump(-DAY);
        }
        Blow::JumpBack => {
            jump(-DAY);
            return |_| jump(DAY);
        }
    }
    |_| {}
}

const DAY: TimeSpec = TimeSpec::new(24 * 60 * 60, 0);

fn jump(by: TimeSpec) {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
    clock_settime(ClockId::CLOCK_REALTIME, now + by).unwrap();
}

fn remount(path: &Path, flags: MsFlags) {
    // EBUSY while the journal is open for writing.
    let _ = mount(Some("none"), path, Some("tmpfs"), MsFlags::MS_REMOUNT | flags, None::<&str>);
}
