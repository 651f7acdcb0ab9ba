//! systemd units, over D-Bus.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use zbus::Connection;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Type};

use super::ask::wait;
use super::error::ServiceError;
use super::{ServiceCall, ServiceState, ServiceView};

const WHOM: &str = "systemd";
const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// How a new job treats those that are queued: as systemctl does.
const MODE: &str = "replace";
const SIGKILL: i32 = 9;
/// Units that are stopped with one, by how they depend on it.
const TAKEN_ALONG: [&str; 5] =
    ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

type Properties = HashMap<String, OwnedValue>;

pub(super) fn look(name: &str) -> Result<ServiceView, ServiceError> {
    wait(WHOM, async {
        let bus = Bus::connect().await?;
        let path = bus.path_of(name).await?;
        let unit = bus.properties(name, &path, "Unit").await?;
        // A socket or a timer is a unit, too, and has no processes of its own.
        let service = bus.properties(name, &path, "Service").await.unwrap_or_default();
        if text(&unit, "LoadState") == "not-found" {
            return Err(ServiceError::Unknown { what: "unit", name: name.to_owned() });
        }
        let active = text(&unit, "ActiveState");
        let frozen = text(&unit, "FreezerState") == "frozen";
        let number = |key: &str| service.get(key).and_then(|n| n.downcast_ref::<u32>().ok());
        let pid = number("MainPID").filter(|pid| *pid > 0);
        let output = json!({
            "running": active == "active" && !frozen,
            "paused": frozen,
            "active": active,
            "sub": text(&unit, "SubState"),
            "load": text(&unit, "LoadState"),
            "result": text(&service, "Result"),
            "pid": pid,
            "restarts": number("NRestarts"),
            "exit_code": service.get("ExecMainStatus").and_then(|n| n.downcast_ref::<i32>().ok()),
        });
        Ok(ServiceView {
            state: state(active, frozen),
            pid,
            // Another one each time it is started.
            started: unit.get("InvocationID").map(|id| format!("{id:?}")),
            output,
            id: text(&unit, "Id").to_owned(),
        })
    })
}

fn state(active: &str, frozen: bool) -> ServiceState {
    match active {
        "active" | "reloading" | "refreshing" if frozen => ServiceState::Paused,
        "active" | "reloading" | "refreshing" => ServiceState::Running,
        "activating" | "deactivating" => ServiceState::Changing,
        // `failed`, `inactive`, and `maintenance` of a unit that is being cleaned.
        _ => ServiceState::Stopped,
    }
}

/// The active units that systemd stops when it stops this one, without itself.
pub(super) fn stopped_with(name: &str) -> Result<Vec<String>, ServiceError> {
    wait(WHOM, async {
        let bus = Bus::connect().await?;
        let mut seen = BTreeMap::from([(name.to_owned(), false)]);
        let mut open = vec![name.to_owned()];
        while let Some(one) = open.pop() {
            let path = bus.path_of(&one).await?;
            let unit = bus.properties(&one, &path, "Unit").await?;
            let active =
                matches!(text(&unit, "ActiveState"), "active" | "reloading" | "refreshing");
            // It is known by other names as well, maybe.
            seen.insert(one.clone(), active && one != name && text(&unit, "Id") != name);
            for kind in TAKEN_ALONG {
                let others = unit.get(kind).and_then(|list| list.try_clone().ok());
                let others = others.and_then(|list| Vec::<String>::try_from(list).ok());
                for other in others.unwrap_or_default() {
                    if seen.insert(other.clone(), false).is_none() {
                        open.push(other);
                    }
                }
            }
        }
        Ok(seen.into_iter().filter_map(|(unit, active)| active.then_some(unit)).collect())
    })
}

pub(super) fn ask(name: &str, what: ServiceCall) -> Result<(), ServiceError> {
    let (verb, method) = match what {
        ServiceCall::Start => ("start", "StartUnit"),
        ServiceCall::Stop => ("stop", "StopUnit"),
        ServiceCall::Restart => ("restart", "RestartUnit"),
        ServiceCall::Kill => ("kill", "KillUnit"),
        ServiceCall::Pause => ("freeze", "FreezeUnit"),
        ServiceCall::Resume => ("thaw", "ThawUnit"),
    };
    wait(WHOM, async {
        let bus = Bus::connect().await?;
        let (path, manager) = (MANAGER_PATH, MANAGER);
        match what {
            ServiceCall::Start | ServiceCall::Stop | ServiceCall::Restart => {
                let _job: OwnedObjectPath =
                    bus.call(name, verb, path, manager, method, &(name, MODE)).await?;
                Ok(())
            }
            ServiceCall::Kill => {
                bus.call(name, verb, path, manager, method, &(name, "all", SIGKILL)).await
            }
            ServiceCall::Pause | ServiceCall::Resume => {
                bus.call(name, verb, path, manager, method, &(name,)).await
            }
        }
    })
}

fn text<'a>(properties: &'a Properties, key: &str) -> &'a str {
    let value = properties.get(key);
    value.and_then(|value| value.downcast_ref::<&str>().ok()).unwrap_or_default()
}

/// The system bus.
struct Bus(Connection);

impl Bus {
    async fn connect() -> Result<Self, ServiceError> {
        Connection::system().await.map(Self).map_err(|error| ServiceError::Unreachable {
            whom: "systemd on the system bus, which faults and probes of units need".into(),
            why: error.to_string(),
        })
    }

    async fn path_of(&self, name: &str) -> Result<OwnedObjectPath, ServiceError> {
        self.call(name, "look at", MANAGER_PATH, MANAGER, "LoadUnit", &(name,)).await
    }

    async fn properties(
        &self,
        name: &str,
        path: &OwnedObjectPath,
        of: &str,
    ) -> Result<Properties, ServiceError> {
        let body = (format!("{DESTINATION}.{of}"),);
        self.call(name, "look at", path.as_str(), PROPERTIES, "GetAll", &body).await
    }

    async fn call<B, T>(
        &self,
        name: &str,
        what: &'static str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<T, ServiceError>
    where
        B: Serialize + DynamicType + Sync,
        T: DeserializeOwned + Type,
    {
        let bus = &self.0;
        let reply = bus.call_method(Some(DESTINATION), path, Some(interface), method, body).await;
        let reply = reply.map_err(|error| match error {
            zbus::Error::MethodError(kind, _, _) if kind.ends_with(".NoSuchUnit") => {
                ServiceError::Unknown { what: "unit", name: name.to_owned() }
            }
            zbus::Error::MethodError(kind, text, _) => {
                let why = text.unwrap_or_else(|| kind.to_string());
                ServiceError::Refused { whom: WHOM, what, name: name.to_owned(), why }
            }
            other => ServiceError::Answer { whom: WHOM, why: other.to_string() },
        })?;
        let answer = reply.body().deserialize::<T>();
        answer.map_err(|error| ServiceError::Answer { whom: WHOM, why: error.to_string() })
    }
}
