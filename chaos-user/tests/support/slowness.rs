//! How slow this machine is.

/// What may take so long on a quiet processor may take so many times longer here.
pub(crate) fn slowness() -> u32 {
    std::env::var("CHAOS_TEST_SLOWNESS").map_or(1, |times| times.parse().unwrap())
}
