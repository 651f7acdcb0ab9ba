//! The states of an escrow, and the only ways between them.

use std::fmt;

/// Where an escrow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Agreed on; nothing has happened yet.
    Created,
    /// The wallets are exchanging keys.
    Multisig,
    /// The multisig wallet exists; the buyer may pay.
    AwaitingFunds,
    /// The money is held and the wallets are being checked. Transient.
    Funding,
    /// The money is held for the vendor.
    Funded,
    /// The goods are on their way.
    Shipped,
    /// The vendor is being paid. Transient.
    Releasing,
    /// The vendor has been paid.
    Released,
    /// The arbiter has to decide.
    Disputed,
    /// The arbiter's decision is being carried out. Transient.
    Resolving,
    /// The arbiter had the vendor paid.
    ResolvedRelease,
    /// The arbiter had the buyer paid back.
    ResolvedRefund,
    /// Called off before any money moved.
    Cancelled,
}

/// What happens to an escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first multisig round starts.
    StartMultisig,
    /// All wallets agree on one address.
    MultisigReady,
    /// The buyer pays: the money is taken.
    BeginFunding,
    /// The vendor has sent the goods.
    Ship,
    /// The buyer has them.
    BeginRelease,
    /// A participant complains.
    Dispute,
    /// The arbiter decides.
    BeginResolution,
    /// The wallets did their part of a transient state.
    Commit(Outcome),
    /// The wallets did not.
    RollBack,
    /// A participant calls it off.
    Cancel,
}

/// Where the money of an escrow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// To the vendor.
    Release,
    /// Back to the buyer.
    Refund,
}

impl Outcome {
    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Refund => "refund",
        }
    }

    /// Reads what was stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Release, Self::Refund].into_iter().find(|outcome| outcome.name() == name)
    }
}

impl State {
    /// All states.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Multisig,
        Self::AwaitingFunds,
        Self::Funding,
        Self::Funded,
        Self::Shipped,
        Self::Releasing,
        Self::Released,
        Self::Disputed,
        Self::Resolving,
        Self::ResolvedRelease,
        Self::ResolvedRefund,
        Self::Cancelled,
    ];

    /// The state after `event`, or `None` if it cannot happen here.
    #[must_use]
    pub fn after(self, event: Event) -> Option<Self> {
        use Event as E;
        Some(match (self, event) {
            (Self::Created, E::StartMultisig) => Self::Multisig,
            (Self::Multisig, E::MultisigReady) | (Self::Funding, E::RollBack) => {
                Self::AwaitingFunds
            }
            (Self::AwaitingFunds, E::BeginFunding) => Self::Funding,
            (Self::Funding, E::Commit(_)) => Self::Funded,
            (Self::Funded, E::Ship) | (Self::Releasing, E::RollBack) => Self::Shipped,
            (Self::Shipped, E::BeginRelease) => Self::Releasing,
            (Self::Releasing, E::Commit(Outcome::Release)) => Self::Released,
            (Self::Funded | Self::Shipped, E::Dispute) | (Self::Resolving, E::RollBack) => {
                Self::Disputed
            }
            (Self::Disputed, E::BeginResolution) => Self::Resolving,
            (Self::Resolving, E::Commit(Outcome::Release)) => Self::ResolvedRelease,
            (Self::Resolving, E::Commit(Outcome::Refund)) => Self::ResolvedRefund,
            (Self::Created | Self::Multisig | Self::AwaitingFunds, E::Cancel) => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether an operation is in the middle of its work in this state.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Funding | Self::Releasing | Self::Resolving)
    }

    /// Whether the escrow's account holds its money in this state.
    #[must_use]
    pub fn holds_money(self) -> bool {
        self.is_transient() || matches!(self, Self::Funded | Self::Shipped | Self::Disputed)
    }

    /// The payout that must have been made, exactly once, in this state.
    #[must_use]
    pub fn payout(self) -> Option<Outcome> {
        match self {
            Self::Released | Self::ResolvedRelease => Some(Outcome::Release),
            Self::ResolvedRefund => Some(Outcome::Refund),
            _ => None,
        }
    }

    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Multisig => "multisig",
            Self::AwaitingFunds => "awaiting_funds",
            Self::Funding => "funding",
            Self::Funded => "funded",
            Self::Shipped => "shipped",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Disputed => "disputed",
            Self::Resolving => "resolving",
            Self::ResolvedRelease => "resolved_release",
            Self::ResolvedRefund => "resolved_refund",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what was stored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [Event; 11] = [
        Event::StartMultisig,
        Event::MultisigReady,
        Event::BeginFunding,
        Event::Ship,
        Event::BeginRelease,
        Event::Dispute,
        Event::BeginResolution,
        Event::Commit(Outcome::Release),
        Event::Commit(Outcome::Refund),
        Event::RollBack,
        Event::Cancel,
    ];

    #[test]
    fn names_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("limbo"), None);
    }

    #[test]
    fn a_transient_state_can_be_rolled_back_and_committed() {
        for state in State::ALL {
            assert_eq!(state.after(Event::RollBack).is_some(), state.is_transient());
            assert_eq!(
                state.after(Event::Commit(Outcome::Release)).is_some(),
                state.is_transient()
            );
        }
    }

    #[test]
    fn nothing_follows_an_end() {
        for state in State::ALL {
            if state.payout().is_some() || state == State::Cancelled {
                assert!(EVENTS.iter().all(|event| state.after(*event).is_none()), "{state}");
            }
        }
    }

    proptest! {
        #[test]
        fn money_is_paid_out_at_most_once(picks in prop::collection::vec(0_usize..11, 0..60)) {
            let mut state = State::Created;
            let (mut held, mut paid) = (0, 0);
            for event in picks.into_iter().map(|pick| EVENTS[pick]) {
                let Some(next) = state.after(event) else { continue };
                match (state.holds_money(), next.holds_money()) {
                    (false, true) => held += 1,
                    (true, false) => {
                        held -= 1;
                        paid += i32::from(next.payout().is_some());
                        prop_assert!(next.payout().is_some() || event == Event::RollBack);
                    }
                    _ => {}
                }
                state = next;
                prop_assert!((0..=1).contains(&held) && paid <= 1);
            }
        }
    }
}
