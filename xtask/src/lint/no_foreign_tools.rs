//! The tool does its own work: it never runs `tc`, `ip`, a shell and their like.

use super::Source;

const FOLDERS: [&str; 2] = ["chaos-user/src", "chaos-common/src"];

const TOOLS: [&str; 14] = [
    "tc",
    "ip",
    "iptables",
    "nft",
    "nsenter",
    "unshare",
    "mount",
    "systemctl",
    "sysctl",
    "ethtool",
    "modprobe",
    "kill",
    "sh",
    "bash",
];

/// Lines that start one of the tools.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|s| FOLDERS.iter().any(|f| s.path.starts_with(f))) {
        for (number, line) in source.product_lines() {
            if let Some(tool) = TOOLS.iter().find(|tool| starts(line, tool)) {
                let path = source.path.display();
                broken.push(format!(
                    "{path}:{number}: this runs `{tool}`; speak to the kernel itself"
                ));
            }
        }
    }
    broken
}

fn starts(line: &str, tool: &str) -> bool {
    ["", "/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"]
        .iter()
        .any(|folder| line.contains(&format!("Command::new(\"{folder}{tool}\")")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(path: &str, text: &str) -> usize {
        check(&[Source { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn tools_are_found_by_name_and_by_path() {
        let text = "Command::new(\"tc\");\nstd::process::Command::new(\"/usr/sbin/ip\")\n";
        assert_eq!(check_one("chaos-user/src/kernel/netlink/qdisc.rs", text), 2);
    }

    #[test]
    fn other_programs_and_other_folders_are_free() {
        assert_eq!(check_one("chaos-user/src/a.rs", "Command::new(&words[0]);\n"), 0);
        assert_eq!(check_one("chaos-user/tests/a.rs", "Command::new(\"tc\");\n"), 0);
    }
}
