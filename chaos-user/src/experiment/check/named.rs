//! The words that a process or a service is named with, wherever they are written.

use crate::experiment::document::{ProviderDocument, Text};
use crate::experiment::workload_document::WatchDocument;

/// What names a process, a unit or a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) node: Option<&'a Text>,
    pub(super) process: Option<&'a Text>,
    pub(super) unit: Option<&'a Text>,
    pub(super) container: Option<&'a Text>,
    pub(super) socket: Option<&'a Text>,
    pub(super) pid_file: Option<&'a Text>,
}

macro_rules! has_the_words {
    ($($document:ty),+) => {$(
        impl<'a> From<&'a $document> for Named<'a> {
            fn from(document: &'a $document) -> Self {
                Self {
                    node: document.node.as_ref(),
                    process: document.process.as_ref(),
                    unit: document.unit.as_ref(),
                    container: document.container.as_ref(),
                    socket: document.socket.as_ref(),
                    pid_file: document.pid_file.as_ref(),
                }
            }
        }
    )+};
}

has_the_words!(ProviderDocument, WatchDocument);
