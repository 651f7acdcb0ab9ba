//! What to do about the compiler for the bpf target, as a pure function of what was found.

use chaos_ebpf_build::{Candidate, DEBIAN_PACKAGES, how_to_get_a_toolchain};

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This one will do.
    Use(Candidate),
    /// Install Debian's packages, for this reason.
    Install(String),
    /// Nothing can be done from here; the text says what the user can do.
    GiveUp(String),
}

/// Decides. `can_install` says that this is Debian and that packages can be installed.
pub(super) fn decide(candidates: Vec<Candidate>, can_install: bool) -> Decision {
    let mut rejected = Vec::new();
    for candidate in candidates {
        match candidate.unusable {
            None => return Decision::Use(candidate),
            Some(why) => {
                rejected.push(format!("{} {} is {why}", candidate.toolchain, candidate.version));
            }
        }
    }
    let why = if rejected.is_empty() {
        "no rustup nightly with rust-src is installed".to_owned()
    } else {
        rejected.join("; ")
    };
    if can_install {
        Decision::Install(why)
    } else {
        Decision::GiveUp(format!(
            "nothing here can build for the bpf target: {why}.\nRun either of\n{}",
            how_to_get_a_toolchain()
        ))
    }
}

/// The error when Debian's packages were installed and still do not do.
pub(super) fn still_unusable(candidates: &[Candidate]) -> String {
    let found: Vec<_> = candidates
        .iter()
        .filter_map(|found| {
            Some(format!("{} {} is {}", found.toolchain, found.version, found.unusable?))
        })
        .collect();
    format!(
        "{} are installed but cannot build for the bpf target ({}).\n\
         A newer release of them may be in this distribution's updates; otherwise run\n\
         {}",
        DEBIAN_PACKAGES.join(", "),
        if found.is_empty() { "their files were not found".to_owned() } else { found.join("; ") },
        "    rustup toolchain install nightly --profile minimal --component rust-src"
    )
}

#[cfg(test)]
mod tests {
    use chaos_ebpf_build::{RustcVersion, Toolchain};

    use super::*;

    fn candidate(toolchain: Toolchain, release: (u32, u32), llvm: u32) -> Candidate {
        let version = RustcVersion { release, llvm };
        let unusable = version.check().err();
        Candidate { toolchain, version, unusable }
    }

    fn nightly(release: (u32, u32), llvm: u32) -> Candidate {
        candidate(Toolchain::Rustup("nightly".into()), release, llvm)
    }

    fn debian(release: (u32, u32), llvm: u32) -> Candidate {
        candidate(Toolchain::Debian { library_path: "/usr/lib".into() }, release, llvm)
    }

    #[test]
    fn the_first_usable_one_is_used() {
        let good = debian((1, 96), 22);
        assert_eq!(
            decide(vec![nightly((1, 99), 23), good.clone()], false),
            Decision::Use(good.clone())
        );
        let nightly = nightly((1, 97), 22);
        assert_eq!(decide(vec![nightly.clone(), good], true), Decision::Use(nightly));
    }

    #[test]
    fn nothing_found_installs_where_that_is_possible() {
        assert!(matches!(decide(vec![], true), Decision::Install(_)));
        let Decision::GiveUp(text) = decide(vec![], false) else { panic!("no way out expected") };
        assert!(text.contains("rustup toolchain install nightly"), "{text}");
        assert!(text.contains("apt-get install cargo-web rustc-web rust-web-src"), "{text}");
    }

    #[test]
    fn an_old_debian_is_updated_and_the_reason_said() {
        let Decision::Install(why) = decide(vec![debian((1, 85), 19)], true) else {
            panic!("an update expected")
        };
        assert!(why.contains("1.85 (LLVM 19) is older than"), "{why}");
    }

    #[test]
    fn an_update_that_did_not_help_says_so() {
        let text = still_unusable(&[debian((1, 85), 19)]);
        assert!(text.contains("rustc-web") && text.contains("1.85"), "{text}");
    }
}
