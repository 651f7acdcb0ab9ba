//! TCP connections.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use tokio::net::{TcpStream, lookup_host};

use super::Place;
use crate::experiment::TcpCall;

/// Connects to the first address that lets it, and closes again.
pub(super) fn connect(
    call: &TcpCall,
    place: &Place<'_>,
) -> impl Future<Output = Result<Value, String>> + Send + 'static {
    let host = place.variables.fill_text(&call.host);
    let port = call.port;
    let known: Vec<IpAddr> = (place.resolve)(&host);
    async move {
        let addresses: Vec<SocketAddr> = if known.is_empty() {
            let found = lookup_host((host.as_str(), port)).await;
            found.map_err(|error| format!("look up {host}: {error}"))?.collect()
        } else {
            known.into_iter().map(|address| SocketAddr::new(address, port)).collect()
        };
        let mut last = format!("{host} has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(Value::Bool(true)),
                Err(error) => last = format!("connect to {address}: {error}"),
            }
        }
        Err(last)
    }
}
