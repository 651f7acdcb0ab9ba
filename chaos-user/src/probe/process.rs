//! Programs that run and end, with the output that the Chaos Toolkit gives them.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::Place;
use crate::experiment::{Arguments, ProcessCall};
use crate::target::{ExecOutput, Exit, exec, find_program};

pub(super) fn run(call: &ProcessCall, place: &Place<'_>) -> Result<Value, String> {
    let path = place.variables.fill_text(&call.path);
    let program = find_program(&path, place.base).map_err(|error| error.to_string())?;
    let arguments = arguments(&call.arguments, place)?;
    let done =
        exec(&program, &arguments, place.surroundings, place.spawner, call.timeout.duration())
            .map_err(|error| error.to_string())?;
    if done.timed_out {
        return Err(format!("{path} was killed: it took longer than {}", call.timeout));
    }
    let status = match done.exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => -signal,
    };
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        // What has the greatest length may have been longer.
        let cut = bytes.len() >= ExecOutput::MOST;
        if cut { place.variables.redactor().cut(&text) } else { text.into_owned() }
    };
    Ok(json!({ "status": status, "stdout": text(&done.stdout), "stderr": text(&done.stderr) }))
}

fn arguments(arguments: &Arguments, place: &Place<'_>) -> Result<Vec<OsString>, String> {
    let fill = |value: &Value| match place.variables.fill(value) {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(OsString::from(text)),
        other => Some(OsString::from(other.to_string())),
    };
    match arguments {
        Arguments::List(list) => Ok(list.iter().filter_map(fill).collect()),
        Arguments::Map(map) => Ok(map
            .iter()
            .flat_map(|(key, value)| [Some(OsString::from(key)), fill(value)])
            .flatten()
            .collect()),
        Arguments::Line(line) => {
            let line = place.variables.fill_text(line);
            let words = shlex::split(&line);
            let words = words.ok_or_else(|| format!("`{line}` has a quote that is not closed"))?;
            Ok(words.into_iter().map(OsString::from).collect())
        }
    }
}
