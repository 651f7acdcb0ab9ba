//! Which file a program's name means.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::process_error::ProcessError;

/// Finds the executable file that `program` means.
///
/// With a slash it is a path, relative to `base`. Without, it is looked for next to this program
/// (so that programs built together find each other) and then in `PATH`.
pub fn find_program(program: &str, base: &Path) -> Result<PathBuf, ProcessError> {
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = base.join(program);
        return match path.metadata() {
            Ok(_) if executable(&path) => std::path::absolute(&path)
                .map_err(|source| ProcessError::Start { program: path, source }),
            Ok(_) => Err(ProcessError::NotExecutable { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let looked = path.parent().map(Path::to_path_buf).into_iter().collect();
                Err(ProcessError::NotFound { program: program.into(), looked })
            }
            Err(source) => Err(ProcessError::Start { program: path, source }),
        };
    }
    let mut looked = Vec::new();
    if let Some(own) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        looked.push(own.to_path_buf());
        // Cargo puts tests one folder below the programs that they test.
        if own.ends_with("deps") {
            looked.extend(own.parent().map(Path::to_path_buf));
        }
    }
    if let Some(paths) = std::env::var_os("PATH") {
        looked.extend(std::env::split_paths(&paths).filter(|path| path.is_absolute()));
    }
    match looked.iter().map(|folder| folder.join(program)).find(|path| executable(path)) {
        Some(path) => Ok(path),
        None => Err(ProcessError::NotFound { program: program.into(), looked }),
    }
}
