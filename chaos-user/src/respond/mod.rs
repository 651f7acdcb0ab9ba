//! A process in front of a service, which answers some calls wrongly: differently to each caller.

mod forward;
mod rules;
mod server;

pub use rules::{Rule, RuleSet, Told};
pub use server::{RespondError, Responder, Upstream};
