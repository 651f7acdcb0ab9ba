//! What can go wrong with a request, and what its sender is told.

use std::time::Duration;

use crate::{escrow::State, multisig::kex::KexError, wallet::Role, wallet::WalletError};

/// The result of everything that serves a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that was not done. Its text is what the user reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value in the request is out of its range.
    #[error("{field} {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The body is not the JSON that was expected.
    #[error("the request body is not usable: {0}")]
    Body(String),
    /// The body is larger than the limit.
    #[error("the request body is larger than {limit} bytes; send a smaller one")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// There is no such object.
    #[error("there is no {what} {id}")]
    NotFound {
        /// The kind of object.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// There is no such route.
    #[error("there is nothing at this address")]
    NoRoute,
    /// The acting user may not do this.
    #[error("only the {who} of this escrow may do that")]
    Forbidden {
        /// Who may.
        who: &'static str,
    },
    /// The `X-User` header is missing.
    #[error("the X-User header must say who is acting")]
    Anonymous,
    /// An object with this id exists.
    #[error("{what} {id} exists already")]
    Exists {
        /// The kind of object.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The escrow is not in a state in which this can be done.
    #[error("escrow {id} is {state}: it cannot {action} now")]
    State {
        /// The escrow.
        id: i64,
        /// Its state.
        state: State,
        /// What was asked.
        action: &'static str,
    },
    /// The account does not hold enough.
    #[error("the balance is too small: {have} available, {need} needed (piconero)")]
    Funds {
        /// What is there.
        have: i64,
        /// What is needed.
        need: i64,
    },
    /// The same idempotency key came with another request.
    #[error("this Idempotency-Key was used for another request; choose a new one")]
    KeyReused,
    /// A request with the same idempotency key is being worked on.
    #[error("a request with this Idempotency-Key is still being worked on; retry in a moment")]
    KeyBusy,
    /// Multisig info that is not a valid message.
    #[error("the multisig info was rejected: {0}; nothing was changed")]
    Kex(#[from] KexError),
    /// Multisig info that is valid, but not here.
    #[error("the multisig info was rejected: {reason}; nothing was changed")]
    Info {
        /// Short name of the reason, for metrics.
        code: &'static str,
        /// The reason in words.
        reason: &'static str,
    },
    /// The wallets of the participants disagree.
    #[error(
        "the participants' wallets gave conflicting answers ({what}), so nothing was applied; the \
         set-up starts again with fresh wallets at the next attempt"
    )]
    Disagreement {
        /// What they disagree on.
        what: &'static str,
    },
    /// A set-up went wrong too often.
    #[error("the multisig set-up failed {attempts} times; cancel this escrow and open a new one")]
    GaveUp {
        /// How often.
        attempts: u32,
    },
    /// A set-up waits for a participant who keeps the wallet themself.
    #[error("the set-up waits for the multisig info of the {who}")]
    Waiting {
        /// For whom.
        who: Role,
    },
    /// A wallet failed.
    #[error("{}; your escrow was not changed; retry in a moment", .0.user_text())]
    Wallet(#[from] WalletError),
    /// A payment was handed to the wallets, but whether they sent it is not known yet.
    #[error(
        "the wallet stopped answering while the payment was being sent; it is being looked up and \
         will be finished or undone, exactly once; look at the escrow again in a moment"
    )]
    InDoubt,
    /// No database connection became free in time.
    #[error("the service is busy: no database connection became free in {waited:?}; retry shortly")]
    PoolTimeout {
        /// How long the request waited.
        waited: Duration,
    },
    /// Too many requests are waiting already.
    #[error("the service is busy: too many requests are waiting; retry shortly")]
    Overloaded,
    /// The request took longer than it may.
    #[error(
        "slow network: this took longer than {limit:?}; it may still be finished: look at the \
         escrow before you retry, or retry with the same Idempotency-Key"
    )]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// The body arrived too slowly.
    #[error("the request body did not arrive within {limit:?}")]
    SlowBody {
        /// The limit.
        limit: Duration,
    },
    /// Writes are refused while the disk takes none.
    #[error("the service is read-only because its disk is full or failing; reading still works")]
    ReadOnly,
    /// The database failed.
    #[error("the database failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The service is shutting down, or a part of it died.
    #[error("the service could not finish the request")]
    Broken {
        /// What broke.
        what: &'static str,
    },
}

impl Error {
    /// A short, stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Body(_) => "bad_body",
            Self::TooLarge { .. } => "too_large",
            Self::NotFound { .. } | Self::NoRoute => "not_found",
            Self::Forbidden { .. } => "forbidden",
            Self::Anonymous => "anonymous",
            Self::Exists { .. } => "exists",
            Self::State { .. } => "wrong_state",
            Self::Funds { .. } => "insufficient_funds",
            Self::KeyReused => "idempotency_key_reused",
            Self::KeyBusy => "idempotency_key_busy",
            Self::Kex(_) => "multisig_malformed",
            Self::Info { code, .. } => code,
            Self::Disagreement { .. } => "wallet_disagreement",
            Self::GaveUp { .. } => "multisig_gave_up",
            Self::Waiting { .. } => "multisig_waiting",
            Self::Wallet(error) => error.code(),
            Self::InDoubt => "payment_in_doubt",
            Self::PoolTimeout { .. } => "pool_timeout",
            Self::Overloaded => "overloaded",
            Self::Deadline { .. } => "deadline",
            Self::SlowBody { .. } => "slow_body",
            Self::ReadOnly => "read_only",
            Self::Sqlite(_) => "database",
            Self::Broken { .. } => "broken",
        }
    }

    /// The HTTP status it is answered with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Body(_) | Self::Invalid { .. } => 400,
            Self::Anonymous => 401,
            Self::Forbidden { .. } => 403,
            Self::NotFound { .. } | Self::NoRoute => 404,
            Self::SlowBody { .. } => 408,
            Self::Exists { .. }
            | Self::State { .. }
            | Self::KeyBusy
            | Self::GaveUp { .. }
            | Self::Waiting { .. } => 409,
            Self::TooLarge { .. } => 413,
            Self::Funds { .. } | Self::KeyReused | Self::Kex(_) | Self::Info { .. } => 422,
            Self::Sqlite(_) | Self::Broken { .. } => 500,
            Self::Disagreement { .. } => 502,
            Self::Wallet(error) => error.status(),
            Self::InDoubt | Self::PoolTimeout { .. } | Self::Overloaded | Self::ReadOnly => 503,
            Self::Deadline { .. } => 504,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self.status(), 408 | 502 | 503 | 504)
            || matches!(self, Self::KeyBusy | Self::Waiting { .. })
            || matches!(self, Self::Sqlite(error) if crate::store::is_busy(error))
    }

    /// After how long, if so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retryable().then(|| match self {
            Self::Wallet(WalletError::CircuitOpen { retry_in, .. }) => *retry_in,
            Self::ReadOnly | Self::InDoubt => Duration::from_secs(2),
            _ => Duration::from_secs(1),
        })
    }
}
