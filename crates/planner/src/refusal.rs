//! Why nothing could be assigned.

use std::fmt;

use model::error::Code;
use model::instance::Reason;
use model::{Bytes, Cpus, Error, ErrorKind};

/// Why an instance cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It could not be on any node: what it asks for does not exist or is held by another one.
    Anywhere(Reason),
    /// Each node refuses it for its own reason.
    Nodes {
        /// The instance's name.
        instance: String,
        /// One for each node, in order of name.
        nodes: Vec<NodeRefusal>,
    },
}

/// Why one node cannot take an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRefusal {
    /// The node's name.
    pub node: String,
    /// Why.
    pub cause: Cause,
}

/// What stands against a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its agent does not answer.
    NotReady,
    /// Nothing new is placed on it.
    Cordoned,
    /// It is being removed.
    Leaving,
    /// The instance is on another node already.
    Elsewhere(String),
    /// A port of the host is held.
    PortTaken {
        /// `8080/tcp`, with the address where one was asked for.
        port: String,
        /// Who holds it: `instance "web"`.
        holder: String,
        /// The command that has it let go.
        release: String,
    },
    /// No port is left to choose.
    NoPort,
    /// Its name or labels are not as the instance asks.
    Rules {
        /// What it asks: `zone=a`, `node x`.
        asked: String,
    },
    /// Not enough memory is left unreserved.
    Memory {
        /// What is asked for.
        asked: Bytes,
        /// What is left.
        free: Bytes,
    },
    /// More processors are asked for than it has.
    Cpus {
        /// What is asked for.
        asked: Cpus,
        /// What it has.
        has: Cpus,
    },
    /// A volume lives on another node.
    Volume {
        /// The volume's name.
        volume: String,
        /// Where it lives.
        lives: String,
    },
    /// An instance whose namespaces are shared is on another node.
    Shares {
        /// Its name.
        instance: String,
        /// Where it is.
        lives: String,
    },
    /// A machine whose disks are to be copied is on another node.
    Source {
        /// Its name.
        instance: String,
        /// Where it is.
        lives: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NotReady => write!(f, "not ready"),
            Cause::Cordoned => write!(f, "cordoned"),
            Cause::Leaving => write!(f, "being removed"),
            Cause::Elsewhere(node) => write!(f, "the instance is on node {node}"),
            Cause::PortTaken { port, holder, .. } => {
                write!(f, "port {port} is taken by {holder}")
            }
            Cause::NoPort => write!(f, "no port is left to choose"),
            Cause::Rules { asked } => write!(f, "the instance is to be on {asked} only"),
            Cause::Memory { asked, free } => {
                write!(f, "{asked} of memory asked for, {free} left unreserved")
            }
            Cause::Cpus { asked, has } => write!(f, "{asked} processors asked for, it has {has}"),
            Cause::Volume { volume, lives } => {
                write!(f, "volume {volume:?} lives on node {lives}")
            }
            Cause::Shares { instance, lives } => {
                write!(f, "instance {instance:?}, whose namespaces it shares, is on node {lives}")
            }
            Cause::Source { instance, lives } => {
                write!(f, "machine {instance:?}, whose disks it begins with, is on node {lives}")
            }
        }
    }
}

impl Cause {
    fn code(&self) -> &'static str {
        match self {
            Cause::PortTaken { .. } | Cause::NoPort => "PortTaken",
            Cause::Memory { .. } => "NoMemory",
            Cause::NotReady
            | Cause::Cordoned
            | Cause::Leaving
            | Cause::Elsewhere(_)
            | Cause::Rules { .. }
            | Cause::Cpus { .. }
            | Cause::Volume { .. }
            | Cause::Shares { .. }
            | Cause::Source { .. } => "NoNode",
        }
    }

    /// The smallest change that would help.
    fn next(&self, node: &str) -> String {
        match self {
            Cause::NotReady => format!("start hull on {node}, or wait until it answers"),
            Cause::Cordoned => format!("`hull node uncordon {node}`"),
            Cause::Leaving => "add a node".to_owned(),
            Cause::Elsewhere(_) => "remove the instance and make it anew".to_owned(),
            Cause::PortTaken { release, .. } => {
                format!("publish another port, or `{release}`")
            }
            Cause::NoPort => "publish fewer ports, or name them".to_owned(),
            Cause::Rules { asked } => {
                format!("add a node that is {asked}, or ask for another one")
            }
            Cause::Memory { .. } => {
                "reserve less memory, or remove an instance that reserves some".to_owned()
            }
            Cause::Cpus { has, .. } => format!("ask for {has} processors at most"),
            Cause::Volume { volume, .. } => format!("take another volume than {volume:?}"),
            Cause::Source { instance, .. } => format!("make it of another one than {instance:?}"),
            Cause::Shares { instance, .. } => format!("share with another one than {instance:?}"),
        }
    }
}

impl NodeRefusal {
    /// The same, said of a service's ports.
    pub(crate) fn of_service(&self, service: &str) -> Reason {
        let message =
            format!("service {service:?} is not published on node {}: {}", self.node, self.cause);
        Reason {
            next: Some(self.cause.next(&self.node)),
            ..Reason::new(self.cause.code(), message)
        }
    }
}

impl Refusal {
    pub(crate) fn anywhere(code: &str, message: String, next: &str) -> Self {
        Self::Anywhere(Reason { next: Some(next.to_owned()), ..Reason::new(code, message) })
    }

    /// What a status says of it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let (instance, nodes) = match self {
            Refusal::Anywhere(reason) => return reason.clone(),
            Refusal::Nodes { instance, nodes } => (instance, nodes),
        };
        let Some(first) = nodes.first() else {
            return Reason {
                next: Some("start hull on a machine".to_owned()),
                ..Reason::new(
                    "NoNode",
                    format!("no node can take instance {instance:?}: none is known"),
                )
            };
        };
        let same = nodes.iter().all(|node| node.cause.code() == first.cause.code());
        let each: Vec<_> = nodes
            .iter()
            .map(|refusal| format!("node {}: {}", refusal.node, refusal.cause))
            .collect();
        Reason {
            code: if same { first.cause.code() } else { "NoNode" }.to_owned(),
            message: format!("no node can take instance {instance:?}: {}", each.join("; ")),
            next: Some(first.cause.next(&first.node)),
        }
    }

    /// Whether it was asked for by name what another instance holds or nothing can hold: a port of
    /// every node, an address. Everything else may come by itself.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Refusal::Anywhere(reason) => {
                matches!(reason.code.as_str(), "AddressTaken" | "AddressInvalid")
            }
            Refusal::Nodes { nodes, .. } => {
                let taken = |node: &NodeRefusal| matches!(node.cause, Cause::PortTaken { .. });
                !nodes.is_empty() && nodes.iter().all(taken)
            }
        }
    }

    /// The same as an error.
    #[must_use]
    pub fn error(&self) -> Error {
        let reason = self.reason();
        let kind = match reason.code.as_str() {
            "PortTaken" | "AddressTaken" => ErrorKind::Conflict,
            "NoMemory" | "NoAddress" | "QuotaExceeded" => ErrorKind::Exhausted,
            "AddressInvalid" | "LimitMissing" => ErrorKind::Invalid,
            "NetworkNotFound" | "VolumeNotFound" | "InstanceNotFound" => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        let code = Code::named(&reason.code);
        let error = Error::new(kind, reason.message).next(reason.next.unwrap_or_default());
        code.into_iter().fold(error, Error::coded)
    }
}
