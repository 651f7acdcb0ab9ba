//! Loads kernel modules, so that no test depends on the kernel loading one by itself.

use std::fs::File;
use std::path::PathBuf;

use chaos_suite::Record;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::port::ReportPort;

/// Loads the modules in this order; what does not load is reported.
pub(crate) fn load_all(modules: &[PathBuf], report: &mut ReportPort) {
    for module in modules {
        let loaded =
            File::open(module).map_err(|error| error.to_string()).and_then(
                |file| match finit_module(&file, c"", ModuleInitFlags::empty()) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(()),
                    Err(errno) => Err(errno.to_string()),
                },
            );
        if let Err(error) = loaded {
            let what = format!("cannot load the module {}: {error}", module.display());
            report.send(&Record::Problem { what });
        }
    }
    println!("guest: {} modules", modules.len());
}
