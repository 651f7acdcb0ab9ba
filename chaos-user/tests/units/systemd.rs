//! A systemd of one's own: the host's program as process 1 of new namespaces, with units of the test
//! alone and with a part of the v2 hierarchy for itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chaos::host::Cgroups;
use tempfile::TempDir;

const PROGRAM: &str = "/lib/systemd/systemd";
const BUS: &str = "/usr/bin/dbus-daemon";
/// Says to a test that it is a unit of such a systemd.
const UNDER: &str = "CHAOS_TEST_UNDER_SYSTEMD";
/// How long a test may take.
const WITHIN: Duration = Duration::from_mins(2);

/// A system bus as Debian starts it.
const BUS_UNITS: [(&str, &str); 2] = [
    (
        "dbus.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    ),
    (
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n\
         NotifyAccess=main\nExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork \
         --nopidfile --systemd-activation\n",
    ),
];

const BOOT: &str = r#"set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/system
cp "$0"/units/* /run/systemd/system/
exec env -i container=chaos-test PATH="$PATH" SYSTEMD_UNIT_PATH=/run/systemd/system \
    SYSTEMD_LOG_TARGET=console /lib/systemd/systemd --system --unit=chaos-test.service
"#;

/// Runs a test as a unit of a systemd that has these units besides. `name` is the test's full name.
pub(crate) fn under_systemd(name: &str, units: &[(&str, &str)], test: impl FnOnce()) {
    if std::env::var_os(UNDER).is_some() {
        return test();
    }
    for (feature, program) in [("systemd-program", PROGRAM), ("dbus-daemon", BUS)] {
        if !Path::new(program).exists() {
            println!("CHAOS-SKIP {name} {feature}");
            return;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("units")).unwrap();
    let program = std::env::current_exe().unwrap();
    let own = format!(
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.service\nAfter=dbus.service\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
         Environment={UNDER}=1 CHAOS_STATE_DIR={folder}/state CHAOS_TEST_SLOWNESS={slowness}\n\
         WorkingDirectory={folder}\nStandardOutput=file:{folder}/said\n\
         StandardError=file:{folder}/said\n\
         ExecStart=/bin/sh -c '{program} {name} --exact --nocapture --test-threads=1; \
         echo $? > code; exec systemctl --force exit'\n",
        folder = path.display(),
        program = program.display(),
        slowness = std::env::var("CHAOS_TEST_SLOWNESS").unwrap_or_else(|_| "1".into()),
    );
    for (unit, text) in
        units.iter().chain(&BUS_UNITS).chain([&("chaos-test.service", own.as_str())])
    {
        fs::write(path.join("units").join(unit), text).unwrap();
    }
    let machine = Machine::boot(folder);
    let ended = machine.ended();
    let read = |file: &str| fs::read_to_string(machine.folder.path().join(file));
    let (said, console) = (read("said").unwrap_or_default(), read("console").unwrap_or_default());
    let code = read("code").unwrap_or_default();
    assert!(ended && code.trim() == "0", "{name}: exit code {code}\n{said}\nsystemd: {console}");
    assert!(said.contains("1 passed"), "{name}: it did not run\n{said}");
}

/// The host's side of it.
struct Machine {
    folder: TempDir,
    cgroup: PathBuf,
    init: Child,
}

impl Machine {
    fn boot(folder: TempDir) -> Self {
        let unique = folder.path().file_name().unwrap().display().to_string();
        let name = format!("chaos-test-{}", unique.trim_start_matches('.'));
        let cgroup = Cgroups::find().unwrap().root().join(name);
        fs::create_dir(&cgroup).unwrap();
        let console = fs::File::create(folder.path().join("console")).unwrap();
        let enter = "echo $$ > \"$0\"/cgroup.procs; exec unshare --pid --mount --uts --ipc --net \
                     --cgroup --fork --kill-child sh -c \"$1\" \"$2\"";
        let init = Command::new("sh")
            .args(["-c", enter])
            .args([cgroup.as_os_str(), BOOT.as_ref(), folder.path().as_os_str()])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        Self { folder, cgroup, init }
    }

    fn ended(&self) -> bool {
        let until = Instant::now() + WITHIN;
        let pid = nix::unistd::Pid::from_raw(self.init.id().cast_signed());
        let flags = nix::sys::wait::WaitPidFlag::WEXITED
            | nix::sys::wait::WaitPidFlag::WNOHANG
            | nix::sys::wait::WaitPidFlag::WNOWAIT;
        loop {
            let state = nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), flags).unwrap();
            if state != nix::sys::wait::WaitStatus::StillAlive {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.init.kill();
        let _ = self.init.wait();
        // The kernel takes a moment to end what was in the namespaces.
        let until = Instant::now() + Duration::from_secs(10);
        while self.cgroup.exists() && Instant::now() < until {
            remove(&self.cgroup);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes a cgroup and those below it, as far as they are empty.
fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
