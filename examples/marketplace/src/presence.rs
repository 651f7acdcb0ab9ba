//! Who is online: everybody who was heard of within the last seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::defect::{Defect, Defects};

/// When each user was last heard of. Kept in memory: after a restart nobody is online until heard.
#[derive(Debug)]
pub struct Presence {
    seen: Mutex<HashMap<String, Seen>>,
    window: Duration,
    defects: Defects,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    was_offline: bool,
}

impl Presence {
    /// Users are online for `window` after they were heard of.
    #[must_use]
    pub fn new(window: Duration, defects: Defects) -> Self {
        Self { seen: Mutex::default(), window, defects }
    }

    /// `user` was heard of; says whether they had been offline after having been online.
    pub fn heard(&self, user: &str, now: Instant) -> bool {
        let mut seen = self.lock();
        let came_back =
            seen.get(user).is_some_and(|seen| now.duration_since(seen.at) > self.window);
        let was_offline = came_back || seen.get(user).is_some_and(|seen| seen.was_offline);
        seen.insert(user.to_owned(), Seen { at: now, was_offline });
        came_back
    }

    /// Whether `user` is online, and how long ago they were heard of.
    pub fn of(&self, user: &str, now: Instant) -> (bool, Option<Duration>) {
        let Some(seen) = self.lock().get(user).copied() else { return (false, None) };
        let ago = now.duration_since(seen.at);
        let stale = self.defects.has(Defect::StaleAfterHeal) && seen.was_offline;
        let online = !stale && (ago <= self.window || self.defects.has(Defect::NeverOffline));
        (online, Some(ago))
    }

    /// How many users are online, and whether anybody has gone offline.
    pub fn count(&self, now: Instant) -> (usize, bool) {
        let seen = self.lock();
        let online = seen.values().filter(|seen| now.duration_since(seen.at) <= self.window);
        let online = online.count();
        (online, online < seen.len())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(3);

    #[test]
    fn a_silent_user_goes_offline_and_comes_back() {
        let start = Instant::now();
        let presence = Presence::new(WINDOW, Defects::NONE);
        assert_eq!(presence.of("b", start), (false, None));
        assert!(!presence.heard("b", start));
        assert!(presence.of("b", start + WINDOW).0);
        let later = start + WINDOW * 2;
        assert!(!presence.of("b", later).0);
        assert_eq!(presence.count(later), (0, true));
        assert!(presence.heard("b", later));
        assert!(presence.of("b", later).0);
        assert_eq!(presence.count(later), (1, false));
    }

    #[test]
    fn the_defects_misjudge() {
        let start = Instant::now();
        let later = start + WINDOW * 2;
        let never = Presence::new(WINDOW, [Defect::NeverOffline].into_iter().collect());
        never.heard("b", start);
        assert!(never.of("b", later).0);
        let stale = Presence::new(WINDOW, [Defect::StaleAfterHeal].into_iter().collect());
        stale.heard("b", start);
        stale.heard("b", later);
        assert!(!stale.of("b", later).0);
    }
}
