//! BPF filters on clsact: finding and deleting them (kernels without TCX).

use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};

use nix::errno::Errno;

use super::{Netlink, NetlinkError, refused};

/// One BPF filter on a clsact qdisc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfFilter {
    /// The program's name.
    pub name: String,
    /// The program's id.
    pub program: u32,
    header: TcHeader,
}

impl BpfFilter {
    /// Priority among the filters of its direction.
    pub fn priority(&self) -> u16 {
        (self.header.info >> 16) as u16
    }

    /// Handle among the filters of its priority.
    pub fn handle(&self) -> u32 {
        u32::from(self.header.handle)
    }
}

/// `ingress` and `egress` as parents.
const PARENTS: [(&str, u16); 2] =
    [("ingress", TcHandle::MIN_INGRESS), ("egress", TcHandle::MIN_EGRESS)];

impl Netlink {
    /// The BPF filters of one direction, as `tc filter show dev DEV ingress|egress` lists them.
    pub async fn bpf_filters(
        &self,
        ifindex: u32,
        direction: &str,
    ) -> Result<Vec<BpfFilter>, NetlinkError> {
        let messages = self.filters(ifindex, direction).await?;
        Ok(messages.into_iter().filter_map(bpf_filter).collect())
    }

    async fn filters(&self, ifindex: u32, direction: &str) -> Result<Vec<TcMessage>, NetlinkError> {
        let get = self.handle.traffic_filter(ifindex.cast_signed()).get();
        let get = if direction == "egress" { get.egress() } else { get.ingress() };
        let object = format!("filters at {direction} of device {ifindex}");
        match get.execute().try_collect::<Vec<_>>().await {
            Ok(messages) => Ok(messages),
            Err(error) => match refused("list", object)(error) {
                // No clsact there, or no device any more: no filters.
                NetlinkError::Refused { errno: Errno::EINVAL | Errno::ENODEV, .. } => {
                    Ok(Vec::new())
                }
                error => Err(error),
            },
        }
    }

    /// Deletes one filter, as `tc filter del` does.
    pub async fn delete_filter(&self, filter: &BpfFilter) -> Result<(), NetlinkError> {
        let message =
            TcMessage::from_parts(filter.header.clone(), vec![TcAttribute::Kind("bpf".into())]);
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::DelTrafficFilter(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let object = format!("filter {} of device {}", filter.name, filter.header.index);
        let mut handle = self.handle.clone();
        let mut answers = handle.request(request).map_err(refused("delete", object.clone()))?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                match refused("delete", object)(rtnetlink::Error::NetlinkError(error)) {
                    // It went with its device, or somebody else took it away.
                    NetlinkError::Refused {
                        errno: Errno::ENODEV | Errno::ENOENT | Errno::EINVAL,
                        ..
                    } => return Ok(()),
                    error => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Whether a device has a clsact qdisc.
    pub async fn has_clsact(&self, ifindex: u32) -> Result<bool, NetlinkError> {
        let get = self.handle.qdisc().get().index(ifindex.cast_signed());
        let object = format!("qdiscs of device {ifindex}");
        let qdiscs = match get.execute().try_collect::<Vec<_>>().await {
            Ok(qdiscs) => qdiscs,
            Err(error) => match refused("list", object)(error) {
                NetlinkError::Refused { errno: Errno::ENODEV, .. } => return Ok(false),
                error => return Err(error),
            },
        };
        // Not every kernel filters the dump.
        Ok(qdiscs.iter().any(|qdisc| {
            qdisc.header.index == ifindex.cast_signed() && qdisc.header.parent == TcHandle::CLSACT
        }))
    }

    /// Deletes a device's clsact qdisc if nothing is on it any more; true if it is gone.
    pub async fn delete_clsact_if_empty(&self, ifindex: u32) -> Result<bool, NetlinkError> {
        for (direction, _) in PARENTS {
            if !self.filters(ifindex, direction).await?.is_empty() {
                return Ok(false);
            }
        }
        let mut delete = self.handle.qdisc().del(ifindex.cast_signed());
        let message = delete.message_mut();
        message.header.parent = TcHandle::CLSACT;
        message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
        message.attributes.push(TcAttribute::Kind("clsact".into()));
        match delete.execute().await {
            Ok(()) => Ok(true),
            Err(error) => match refused("delete", format!("clsact of device {ifindex}"))(error) {
                // It went with its device, or somebody else took it away.
                NetlinkError::Refused {
                    errno: Errno::ENODEV | Errno::ENOENT | Errno::EINVAL,
                    ..
                } => Ok(true),
                error => Err(error),
            },
        }
    }
}

fn bpf_filter(message: TcMessage) -> Option<BpfFilter> {
    let header = message.header;
    let (mut name, mut program) = (None, 0);
    for attribute in message.attributes {
        let TcAttribute::Options(options) = attribute else { continue };
        for option in options {
            match option {
                TcOption::Bpf(TcFilterBpfOption::ProgName(text)) => name = Some(text),
                TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => program = id,
                _ => {}
            }
        }
    }
    Some(BpfFilter { name: name?, program, header })
}
