//! Namespaces made, entered and left on a real kernel. Needs root.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chaos::kernel::netns::{NetNs, NetNsError};

/// A named namespace the way `ip netns` keeps one: a bind mount.
struct Named(std::path::PathBuf);

impl Named {
    fn new(name: &str, target: &NetNs) -> Self {
        std::fs::create_dir_all("/run/netns").unwrap();
        let path = std::path::Path::new("/run/netns").join(name);
        std::fs::write(&path, "").unwrap();
        let flags = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&target.path()), &path, None::<&str>, flags, None::<&str>).unwrap();
        Self(path)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_anonymous_namespace_is_another_one_and_the_caller_stays_outside() {
    let before = NetNs::current().unwrap();
    let made = NetNs::anonymous().unwrap();
    assert_ne!(made, before);
    assert_eq!(made.run(|| NetNs::current().unwrap()).unwrap(), made);
    assert_eq!(NetNs::current().unwrap(), before);
    let interfaces = made.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let interfaces = interfaces.unwrap();
    assert_eq!(interfaces.lines().count(), 3, "only lo: {interfaces}");
}

#[test]
fn cookies_are_never_shared() {
    let made: Vec<NetNs> = (0..8).map(|_| NetNs::anonymous().unwrap()).collect();
    let cookies: HashSet<u64> = made.iter().map(|ns| ns.cookie().unwrap()).collect();
    assert_eq!(cookies.len(), made.len());
    assert_eq!(made[0].cookie().unwrap(), made[0].clone().cookie().unwrap());
    assert!(!cookies.contains(&NetNs::current().unwrap().cookie().unwrap()));
}

#[test]
fn a_panic_inside_reaches_the_caller_and_leaves_it_outside() {
    let before = NetNs::current().unwrap();
    let made = NetNs::anonymous().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| made.run(|| panic!("on purpose")))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(NetNs::current().unwrap(), before);
    assert_eq!(made.run(|| 7).unwrap(), 7, "the namespace is still usable");
}

#[test]
fn names_are_found_and_near_misses_are_told() {
    let made = NetNs::anonymous().unwrap();
    let name = format!("chaos-test-{}", std::process::id());
    let _named = Named::new(&name, &made);
    assert_eq!(NetNs::parse(&name).unwrap(), made);
    assert_eq!(NetNs::parse(&format!("/run/netns/{name}")).unwrap(), made);
    match NetNs::parse(&format!("{name}x")).unwrap_err() {
        NetNsError::UnknownName { known, nearest, .. } => {
            assert!(known.contains(&name));
            assert_eq!(nearest, Some(name));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_number_that_is_a_name_and_a_process_is_not_guessed() {
    let made = NetNs::anonymous().unwrap();
    let pid = std::process::id();
    let named = Named::new(&pid.to_string(), &made);
    let error = NetNs::parse(&pid.to_string()).unwrap_err();
    assert!(matches!(error, NetNsError::Ambiguous { .. }), "{error}");
    drop(named);
    assert_eq!(NetNs::parse(&pid.to_string()).unwrap(), NetNs::current().unwrap());
}

#[test]
fn async_work_runs_inside() {
    let made = NetNs::anonymous().unwrap();
    let seen = made.block_on(|| async { NetNs::current().unwrap() }).unwrap();
    assert_eq!(seen, made);

    let inside = made.spawn_runtime().unwrap();
    let outside = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seen = outside.block_on(async {
        let direct = inside.spawn(async { NetNs::current().unwrap() }).await.unwrap();
        let blocking = inside
            .spawn(async { tokio::task::spawn_blocking(|| NetNs::current().unwrap()).await })
            .await;
        (direct, blocking.unwrap().unwrap())
    });
    assert_eq!(seen, (made.clone(), made));
}

#[test]
fn async_work_can_be_awaited_from_async_code() {
    let made = NetNs::anonymous().unwrap();
    let outer = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seen = outer.block_on(async { made.block_on(|| async { NetNs::current().unwrap() }) });
    assert_eq!(seen.unwrap(), made);
}

#[test]
fn sockets_of_two_namespaces_do_not_meet() {
    let made = NetNs::anonymous().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(TcpStream::connect(address).is_ok());
    assert!(made.run(|| TcpStream::connect(address)).unwrap().is_err());
}
