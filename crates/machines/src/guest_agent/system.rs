//! What the guest is, its addresses, its clock, its power, its file systems frozen.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::GuestAgent;

/// Longest wait for the agent to refuse a shutdown; it does not answer when it carries it out.
const REFUSAL: Duration = Duration::from_secs(2);
/// Longest wait for file systems to be frozen: what is in memory is written first.
const FREEZE: Duration = Duration::from_secs(60);

/// The agent itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Its version, e.g. `7.2.22`.
    pub version: String,
    supported_commands: Vec<SupportedCommand>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct SupportedCommand {
    name: String,
    enabled: bool,
}

impl Info {
    /// Whether it carries out `command` now.
    pub fn allows(&self, command: &str) -> bool {
        self.supported_commands.iter().any(|known| known.name == command && known.enabled)
    }
}

/// The guest's system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct OsInfo {
    /// `debian`, `alpine`, `mswindows`…
    pub id: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: String,
    /// `12`.
    pub version_id: String,
    /// `6.1.0-56-cloud-amd64`.
    pub kernel_release: String,
    /// `x86_64`.
    pub machine: String,
}

/// A network interface of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct GuestInterface {
    /// The guest's name for it.
    pub name: String,
    /// Its hardware address.
    pub hardware_address: String,
    /// Its addresses.
    pub ip_addresses: Vec<GuestAddress>,
}

/// An address of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestAddress {
    /// The address.
    pub ip_address: IpAddr,
    /// Length of its network's prefix.
    pub prefix: u8,
}

/// How a guest shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the agent's own words")]
pub enum Shutdown {
    Powerdown,
    Reboot,
    Halt,
}

impl GuestAgent {
    /// Whether the agent answers.
    ///
    /// # Errors
    ///
    /// `Unavailable` when it does not.
    pub async fn ping(&self) -> Result<()> {
        self.call("guest-ping", Value::Null).await.map(drop)
    }

    /// Which agent it is and what it can do.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn info(&self) -> Result<Info> {
        self.query("guest-info", Value::Null).await
    }

    /// The guest's system.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn os_info(&self) -> Result<OsInfo> {
        self.query("guest-get-osinfo", Value::Null).await
    }

    /// The name the guest has given itself.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn host_name(&self) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct HostName {
            host_name: String,
        }
        let answer: HostName = self.query("guest-get-host-name", Value::Null).await?;
        Ok(answer.host_name)
    }

    /// The guest's network interfaces and their addresses, as it tells them.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn interfaces(&self) -> Result<Vec<GuestInterface>> {
        self.query("guest-network-get-interfaces", Value::Null).await
    }

    /// Lets the guest shut down. That it was told is all that is known afterwards.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn shutdown(&self, how: Shutdown) -> Result<()> {
        let mode = match how {
            Shutdown::Powerdown => "powerdown",
            Shutdown::Reboot => "reboot",
            Shutdown::Halt => "halt",
        };
        // In step first: no answer then means that it is carried out.
        self.ping().await?;
        match self.call_within("guest-shutdown", json!({"mode": mode}), REFUSAL).await {
            Err(error) if error.kind() != ErrorKind::Unavailable => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Sets the guest's clock to the host's.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn set_time(&self) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.call("guest-set-time", json!({"time": nanoseconds})).await.map(drop)
    }

    /// Writes everything to the guest's disks and holds further writes back until
    /// [`GuestAgent::thaw`]. Says how many file systems are frozen. While they are, the agent does
    /// little else.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`]; nothing is frozen then, as far as the guest still answers.
    pub async fn freeze(&self) -> Result<u64> {
        let frozen = self.call_within("guest-fsfreeze-freeze", Value::Null, FREEZE).await;
        match frozen {
            Ok(count) => Ok(count.as_u64().unwrap_or_default()),
            Err(error) => {
                let _ = self.thaw().await;
                Err(error)
            }
        }
    }

    /// Lets the guest write again.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn thaw(&self) -> Result<u64> {
        let thawed = self.call_within("guest-fsfreeze-thaw", Value::Null, FREEZE).await?;
        Ok(thawed.as_u64().unwrap_or_default())
    }
}
