//! A call passed on to the service, and its answer.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1::Builder;
use hyper::header::{CONNECTION, EXPECT, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use hyper::{Request, Response, Uri, http};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::Upstream;

/// The most of a body that is held in memory, in bytes.
pub(super) const MOST: usize = 4 << 20;

/// A service takes no time to accept, unless nobody is there.
const CONNECT: Duration = Duration::from_secs(2);
/// Callers give up long before.
const ANSWER: Duration = Duration::from_mins(2);

/// Why there is no answer of the service to pass on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("connect to {0}: {1}; is the service running?")]
    Connect(String, std::io::Error),
    #[error("connect to {0}: nobody accepted within 2 seconds")]
    Nobody(String),
    #[error("ask {0}: {1}")]
    Ask(String, hyper::Error),
    #[error("read the answer of {0}: {1}; at most 4 MiB are passed on")]
    Read(String, Box<dyn Error + Send + Sync>),
    #[error("ask {0}: there was no whole answer within 2 minutes")]
    Late(String),
    #[error("pass the call on: {0}")]
    Call(http::Error),
}

/// Reads a body whole, if it is not too long.
pub(super) async fn collect<B>(body: B) -> Result<Bytes, Box<dyn Error + Send + Sync>>
where
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    Ok(Limited::new(body, MOST).collect().await?.to_bytes())
}

/// Asks the service what the caller asked, and reads what it says.
pub(super) async fn forward(
    upstream: &Upstream,
    call: Request<Bytes>,
) -> Result<Response<Bytes>, ForwardError> {
    let name = upstream.authority.clone();
    let stream = match timeout(CONNECT, TcpStream::connect(&name)).await {
        Ok(connected) => connected.map_err(|error| ForwardError::Connect(name.clone(), error))?,
        Err(_) => return Err(ForwardError::Nobody(name)),
    };
    let late = ForwardError::Late(name.clone());
    timeout(ANSWER, ask(stream, name, call)).await.unwrap_or(Err(late))
}

async fn ask(
    stream: TcpStream,
    name: String,
    call: Request<Bytes>,
) -> Result<Response<Bytes>, ForwardError> {
    let (mut parts, body) = call.into_parts();
    // A proxy's client names the host in the first line, too; a server wants the path.
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::try_from(path).map_err(|error| ForwardError::Call(error.into()))?;
    for_the_next_hop(&mut parts.headers);
    let failed = |error| ForwardError::Ask(name.clone(), error);
    let mut builder = Builder::new();
    builder.preserve_header_case(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let asked = async {
        let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await;
        let (mut parts, body) = answer.map_err(failed)?.into_parts();
        for_the_next_hop(&mut parts.headers);
        let read = collect(body).await.map_err(|error| ForwardError::Read(name.clone(), error))?;
        Ok(Response::from_parts(parts, read))
    };
    // The connection only moves bytes: it lives as long as the question, and not in a task of its own,
    // so a caller who goes away ends it.
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // What it has read by its end is still there to be taken.
        _ = connection => asked.await,
    }
}

/// Headers that are about one connection. The body is whole, so its length is known.
fn for_the_next_hop(headers: &mut HeaderMap) {
    for header in [CONNECTION, TRANSFER_ENCODING, UPGRADE, EXPECT] {
        headers.remove(header);
    }
    headers.remove("keep-alive");
}
