//! Where and how a run is struck: seeded, and spread over its whole life.

use std::fmt;
use std::time::Duration;

/// How long a run lives, and how many records its journal gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) lasts: Duration,
    pub(crate) records: usize,
}

/// When a run is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// So long after it was started.
    Time(Duration),
    /// So long after its journal (or the draft of it) had so many records.
    Record(usize, Duration),
    /// So long after the fault came into force.
    InForce(Duration),
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    KillController,
    KillGuardian,
    KillBoth,
    StopController,
    StopGuardian,
    Terminate,
    HangUp,
    CloseTerminal,
    FillDisk,
    FreezeFolder,
    DeleteDevice,
    DeleteNamespace,
    /// The clock of the day goes on; `CLOCK_BOOTTIME`, which deadlines and leases are by, cannot be set.
    JumpForward,
    JumpBack,
}

/// What a run may be struck with here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arsenal {
    /// Whether the clock is this test's alone.
    pub(crate) clock: bool,
}

impl Blow {
    /// How often each is dealt in a round: deaths count most.
    const ROUND: [Self; 17] = [
        Self::KillController,
        Self::KillBoth,
        Self::KillGuardian,
        Self::KillController,
        Self::StopController,
        Self::KillBoth,
        Self::KillController,
        Self::CloseTerminal,
        Self::HangUp,
        Self::KillGuardian,
        Self::KillBoth,
        Self::FillDisk,
        Self::KillController,
        Self::FreezeFolder,
        Self::DeleteDevice,
        Self::Terminate,
        Self::DeleteNamespace,
    ];
    /// These are dealt besides where nobody else needs the clock.
    const CLOCK: [Self; 2] = [Self::JumpForward, Self::JumpBack];

    fn deal(number: usize, arsenal: Arsenal) -> Self {
        let clock = if arsenal.clock { &Self::CLOCK[..] } else { &[] };
        let at = number % (Self::ROUND.len() + clock.len());
        *Self::ROUND.iter().chain(clock).nth(at).unwrap()
    }

    /// Whether the run goes on to its own end.
    pub(crate) fn spares_the_run(self) -> bool {
        use Blow::{DeleteDevice, FillDisk, FreezeFolder, JumpBack, JumpForward};
        matches!(self, DeleteDevice | FillDisk | FreezeFolder | JumpBack | JumpForward)
    }

    /// Whether nobody is left who would put things back: that is for `chaos heal`.
    pub(crate) fn leaves_nobody(self) -> bool {
        matches!(self, Self::KillBoth | Self::FreezeFolder)
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::KillController => "SIGKILL to the controller",
            Self::KillGuardian => "SIGKILL to the guardian",
            Self::KillBoth => "SIGKILL to both",
            Self::StopController => "SIGSTOP to the controller",
            Self::StopGuardian => "SIGSTOP to the guardian",
            Self::Terminate => "SIGTERM to the group",
            Self::HangUp => "SIGHUP to the group",
            Self::CloseTerminal => "its terminal closes",
            Self::FillDisk => "the journal's disk is full",
            Self::FreezeFolder => "the journal's folder turns read-only",
            Self::DeleteDevice => "a device is deleted",
            Self::DeleteNamespace => "the namespace is deleted, SIGKILL",
            Self::JumpForward => "the clock jumps a day forward",
            Self::JumpBack => "the clock jumps a day back",
        }
    }
}

/// One blow at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) when: When,
    pub(crate) blow: Blow,
}

impl Point {
    /// The `number`th point of a subject.
    pub(crate) fn choose(
        number: usize,
        felt: bool,
        life: Life,
        arsenal: Arsenal,
        random: &mut fastrand::Rng,
    ) -> Self {
        let blow = match Blow::deal(number, arsenal) {
            // Now and then the other one is stopped.
            Blow::StopController if random.bool() => Blow::StopGuardian,
            blow => blow,
        };
        let micros = |most: Duration| most.as_micros().max(1) as u64;
        // At a record and shortly after it, while it is in force, and anywhere else.
        let when = if felt && random.u8(0..3) == 0 {
            When::InForce(Duration::from_micros(random.u64(0..400_000)))
        } else if random.bool() {
            let pause = if random.bool() { 0 } else { random.u64(0..20_000) };
            // One record after the other, so that none is left out.
            When::Record(1 + number % life.records.max(1), Duration::from_micros(pause))
        } else {
            When::Time(Duration::from_micros(random.u64(0..micros(life.lasts))))
        };
        Self { when, blow }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::Time(after) => write!(f, "{} after {after:?}", self.blow.text()),
            When::InForce(after) => write!(f, "{} {after:?} into its force", self.blow.text()),
            When::Record(count, after) => {
                write!(f, "{} {after:?} after record {count}", self.blow.text())
            }
        }
    }
}
