//! What each defect is, and which scenarios should go red because of it.

/// A scenario of the catalogue that the experiments run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the scenarios' own names")]
pub enum Scenario {
    Network,
    Rpc,
    Pool,
    Restart,
    Disk,
    Byzantine,
    Disputes,
    Memory,
    Partition,
    Generals,
    Cascade,
}

impl Scenario {
    /// All scenarios, in the order of the catalogue.
    pub const ALL: [Self; 11] = [
        Self::Network,
        Self::Rpc,
        Self::Pool,
        Self::Restart,
        Self::Disk,
        Self::Byzantine,
        Self::Disputes,
        Self::Memory,
        Self::Partition,
        Self::Generals,
        Self::Cascade,
    ];
}

/// One line of the catalogue of defects.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// The switch.
    #[serde(skip)]
    pub defect: Defect,
    /// What is wrong with a service that has it.
    pub what: &'static str,
    /// The scenarios that should catch it.
    pub caught_by: &'static [Scenario],
    /// The scenarios that may go wrong because of it, or not: requests have to meet by chance.
    pub by_chance: &'static [Scenario],
}

impl Entry {
    const fn or_by_chance(self, by_chance: &'static [Scenario]) -> Self {
        Self { by_chance, ..self }
    }
}

/// A way of being wrong that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Defect {
    /// Calls to a wallet have no time-out at all.
    NoTimeout,
    /// A request has no deadline of its own, and no call it makes has one either.
    NoRequestTimeout,
    /// A wallet call is given 300 ms and one attempt, so an ordinary slow network is an outage.
    ShortTimeout,
    /// The process aborts when a wallet call times out.
    PanicOnTimeout,
    /// The user is never told that the network is slow.
    NoSlowNotice,
    /// The process aborts when a wallet cannot be reached.
    PanicOnRpcError,
    /// An escrow whose wallet call failed stays half-way, with the money held.
    NoRollback,
    /// A circuit breaker that opened stays open after the wallet is back.
    BreakerNeverCloses,
    /// Every failure of the service is told to the user as "internal error".
    UnhelpfulError,
    /// Failures leave no log line.
    SilentFailure,
    /// A failed wallet step is answered with 200 and the old state.
    FalseSuccess,
    /// A database connection that a write had to wait for is never given back.
    PoolLeak,
    /// A write takes a second connection while it holds the first, and waits for ever.
    PoolDeadlock,
    /// A request that finds no free connection is refused at once instead of waiting.
    PoolNoQueue,
    /// Every request leaves 64 KiB behind in memory.
    RequestLeak,
    /// Multisig messages are kept in memory only.
    MemoryMultisig,
    /// What a killed process left half-way is never finished nor rolled back.
    NoRecovery,
    /// A lock file left by a killed process stops the next start.
    StaleLock,
    /// The database is a working copy that is saved only by a clean shut-down.
    LostWrites,
    /// When the disk is full the database file is cut to make room.
    CorruptOnFullDisk,
    /// The process aborts when a write finds no space.
    CrashOnFullDisk,
    /// A full disk does not make the service read-only: each write fails as an internal error.
    NoReadOnly,
    /// Read-only mode is never left again.
    ReadOnlyForever,
    /// Read-only mode raises no alert: no log line, no metric, a healthy /healthz.
    NoDiskAlert,
    /// Multisig info is stored without being looked at.
    AcceptMalformed,
    /// Multisig info that was used before is accepted again.
    AcceptReplay,
    /// Multisig info of another round is accepted.
    AcceptWrongRound,
    /// Multisig info signed by, or sent by, another party is accepted.
    AcceptOtherParty,
    /// The process aborts while it parses multisig info that it did not expect.
    PanicOnMalformed,
    /// Settlement checks the state before it takes the lock, and takes no lock.
    DoubleRelease,
    /// A dispute resolution that loses the race never gives its lock back.
    SettleDeadlock,
    /// A dispute is marked resolved but the money stays where it is.
    SettleWithoutPayout,
    /// Request bodies have no size limit.
    NoBodyLimit,
    /// A body that is too large is read whole before it is refused.
    ReadBodyFirst,
    /// The bodies of refused requests stay in memory.
    BodyLeak,
    /// The process aborts on a request body that is too large.
    CrashOnLargeBody,
    /// While a participant is offline, no participant may write.
    PartitionHitsEveryone,
    /// A user who was once seen offline stays offline.
    StaleAfterHeal,
    /// A user who was once seen is online for ever.
    NeverOffline,
    /// When a user comes back, held money is returned although the escrow goes on.
    DivergeAfterHeal,
    /// The participants' answers are not compared: the buyer's is believed.
    AcceptConflict,
    /// The answers are compared after they were applied.
    HalfApplyConflict,
    /// A conflict is never retried with fresh wallets.
    StuckAfterConflict,
    /// There is no circuit breaker: every request waits for a dead wallet.
    NoBreaker,
    /// A failed wallet call is retried at once, five hundred times.
    UnlimitedRetries,
    /// A database connection stays taken while a wallet is called.
    HoldConnectionDuringRpc,
    /// A request waits 5 ms for a database connection, and if there is none the process aborts.
    ExitOnPoolTimeout,
}

use Defect as D;
use Scenario as S;

const fn entry(
    name: &'static str,
    defect: Defect,
    what: &'static str,
    caught_by: &'static [Scenario],
) -> Entry {
    Entry { name, defect, what, caught_by, by_chance: &[] }
}

/// Every defect.
pub const CATALOGUE: &[Entry] = &[
    entry(
        "no-timeout",
        D::NoTimeout,
        "Calls to a wallet have no time-out at all.",
        &[S::Network, S::Cascade],
    ),
    entry(
        "no-request-timeout",
        D::NoRequestTimeout,
        "A request has no deadline of its own, and no call it makes has one either.",
        &[S::Network, S::Cascade],
    ),
    entry(
        "short-timeout",
        D::ShortTimeout,
        "A wallet call is given 300 ms and one attempt, so an ordinary slow network is an outage.",
        &[S::Network],
    ),
    entry(
        "panic-on-timeout",
        D::PanicOnTimeout,
        "The process aborts when a wallet call times out.",
        &[S::Network, S::Cascade],
    ),
    entry(
        "no-slow-notice",
        D::NoSlowNotice,
        "The user is never told that the network is slow.",
        &[S::Network],
    ),
    entry(
        "panic-on-rpc-error",
        D::PanicOnRpcError,
        "The process aborts when a wallet cannot be reached.",
        &[S::Network, S::Rpc, S::Cascade],
    ),
    entry(
        "no-rollback",
        D::NoRollback,
        "An escrow whose wallet call failed stays half-way, with the money held.",
        &[S::Network, S::Rpc, S::Restart],
    ),
    entry(
        "breaker-never-closes",
        D::BreakerNeverCloses,
        "A circuit breaker that opened stays open after the wallet is back.",
        &[S::Network, S::Rpc, S::Cascade],
    ),
    entry(
        "unhelpful-error",
        D::UnhelpfulError,
        "Every failure of the service is told to the user as \"internal error\".",
        &[S::Rpc, S::Disk, S::Generals, S::Cascade],
    ),
    entry(
        "silent-failure",
        D::SilentFailure,
        "Failures leave no log line.",
        &[S::Rpc, S::Disk, S::Byzantine, S::Disputes, S::Memory, S::Generals],
    ),
    entry(
        "false-success",
        D::FalseSuccess,
        "A failed wallet step is answered with 200 and the old state.",
        &[S::Network, S::Rpc],
    ),
    entry(
        "pool-leak",
        D::PoolLeak,
        "A database connection that a write had to wait for is never given back.",
        &[S::Pool, S::Cascade],
    )
    .or_by_chance(&[S::Disputes, S::Memory]),
    entry(
        "pool-deadlock",
        D::PoolDeadlock,
        "A write takes a second connection while it holds the first, and waits for ever.",
        &[S::Pool, S::Cascade],
    )
    .or_by_chance(&[S::Disputes, S::Memory, S::Partition]),
    entry(
        "pool-no-queue",
        D::PoolNoQueue,
        "A request that finds no free connection is refused at once instead of waiting.",
        &[S::Pool, S::Memory, S::Cascade],
    )
    .or_by_chance(&[S::Disputes, S::Partition]),
    entry(
        "request-leak",
        D::RequestLeak,
        "Every request leaves 64 KiB behind in memory.",
        &[S::Pool, S::Memory],
    ),
    entry(
        "memory-multisig",
        D::MemoryMultisig,
        "Multisig messages are kept in memory only.",
        &[S::Restart],
    ),
    entry(
        "no-recovery",
        D::NoRecovery,
        "What a killed process left half-way is never finished nor rolled back.",
        &[S::Restart],
    ),
    entry(
        "stale-lock",
        D::StaleLock,
        "A lock file left by a killed process stops the next start.",
        &[S::Restart],
    ),
    entry(
        "lost-writes",
        D::LostWrites,
        "The database is a working copy that is saved only by a clean shut-down.",
        &[S::Restart],
    ),
    entry(
        "corrupt-on-full-disk",
        D::CorruptOnFullDisk,
        "When the disk is full the database file is cut to make room.",
        &[S::Disk],
    ),
    entry(
        "crash-on-full-disk",
        D::CrashOnFullDisk,
        "The process aborts when a write finds no space.",
        &[S::Disk],
    ),
    entry(
        "no-read-only",
        D::NoReadOnly,
        "A full disk does not make the service read-only: each write fails as an internal error.",
        &[S::Disk],
    ),
    entry(
        "read-only-forever",
        D::ReadOnlyForever,
        "Read-only mode is never left again.",
        &[S::Disk],
    ),
    entry(
        "no-disk-alert",
        D::NoDiskAlert,
        "Read-only mode raises no alert: no log line, no metric, a healthy /healthz.",
        &[S::Disk],
    ),
    entry(
        "accept-malformed",
        D::AcceptMalformed,
        "Multisig info is stored without being looked at.",
        &[S::Byzantine],
    ),
    entry(
        "accept-replay",
        D::AcceptReplay,
        "Multisig info that was used before is accepted again.",
        &[S::Byzantine],
    ),
    entry(
        "accept-wrong-round",
        D::AcceptWrongRound,
        "Multisig info of another round is accepted.",
        &[S::Byzantine],
    ),
    entry(
        "accept-other-party",
        D::AcceptOtherParty,
        "Multisig info signed by, or sent by, another party is accepted.",
        &[S::Byzantine],
    ),
    entry(
        "panic-on-malformed",
        D::PanicOnMalformed,
        "The process aborts while it parses multisig info that it did not expect.",
        &[S::Byzantine],
    ),
    entry(
        "double-release",
        D::DoubleRelease,
        "Settlement checks the state before it takes the lock, and takes no lock.",
        &[S::Disputes],
    ),
    entry(
        "settle-deadlock",
        D::SettleDeadlock,
        "A dispute resolution that loses the race never gives its lock back.",
        &[S::Disputes],
    ),
    entry(
        "settle-without-payout",
        D::SettleWithoutPayout,
        "A dispute is marked resolved but the money stays where it is.",
        &[S::Disputes],
    ),
    entry("no-body-limit", D::NoBodyLimit, "Request bodies have no size limit.", &[S::Memory]),
    entry(
        "read-body-first",
        D::ReadBodyFirst,
        "A body that is too large is read whole before it is refused.",
        &[S::Memory],
    ),
    entry("body-leak", D::BodyLeak, "The bodies of refused requests stay in memory.", &[S::Memory]),
    entry(
        "crash-on-large-body",
        D::CrashOnLargeBody,
        "The process aborts on a request body that is too large.",
        &[S::Memory],
    ),
    entry(
        "partition-hits-everyone",
        D::PartitionHitsEveryone,
        "While a participant is offline, no participant may write.",
        &[S::Partition],
    ),
    entry(
        "stale-after-heal",
        D::StaleAfterHeal,
        "A user who was once seen offline stays offline.",
        &[S::Partition],
    ),
    entry(
        "never-offline",
        D::NeverOffline,
        "A user who was once seen is online for ever.",
        &[S::Partition],
    ),
    entry(
        "diverge-after-heal",
        D::DivergeAfterHeal,
        "When a user comes back, held money is returned although the escrow goes on.",
        &[S::Partition],
    ),
    entry(
        "accept-conflict",
        D::AcceptConflict,
        "The participants' answers are not compared: the buyer's is believed.",
        &[S::Generals],
    ),
    entry(
        "half-apply-conflict",
        D::HalfApplyConflict,
        "The answers are compared after they were applied.",
        &[S::Generals],
    ),
    entry(
        "stuck-after-conflict",
        D::StuckAfterConflict,
        "A conflict is never retried with fresh wallets.",
        &[S::Generals],
    ),
    entry(
        "no-breaker",
        D::NoBreaker,
        "There is no circuit breaker: every request waits for a dead wallet.",
        &[S::Network, S::Cascade],
    ),
    entry(
        "unlimited-retries",
        D::UnlimitedRetries,
        "A failed wallet call is retried at once, five hundred times.",
        &[S::Network, S::Cascade],
    ),
    entry(
        "hold-connection-during-rpc",
        D::HoldConnectionDuringRpc,
        "A database connection stays taken while a wallet is called.",
        &[S::Cascade, S::Pool],
    )
    .or_by_chance(&[S::Disputes]),
    entry(
        "exit-on-pool-timeout",
        D::ExitOnPoolTimeout,
        "A request waits 5 ms for a database connection, and if there is none the process aborts.",
        &[S::Cascade, S::Pool],
    )
    .or_by_chance(&[S::Disputes, S::Memory]),
];
