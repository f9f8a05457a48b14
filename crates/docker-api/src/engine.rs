//! What endpoints ask of the platform besides its verbs.

use control::Caller;
use model::ErrorKind;
use model::image::Image;
use model::instance::Instance;
use model::network::DEFAULT_NETWORK;
use model::volume::LOCAL;

use crate::Engine;
use crate::failure::Reply;

impl Engine {
    /// The driver that has a volume, and where its contents are while it is mounted.
    pub(crate) fn volume_place(&self, name: &str) -> (String, String) {
        match self.control.volumes().get(&Caller::platform(), &self.project, name) {
            Ok(volume) => (volume.spec.storage.clone(), volume.status.path.clone()),
            Err(_) => (LOCAL.to_owned(), String::new()),
        }
    }

    /// What a volume of that name only stands for, if it does.
    pub(crate) fn stand_in(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Option<model::instance::MountKind> {
        let volume = self.control.volumes().get(caller, &self.project, name).ok()?;
        crate::volumes::stand_in(&volume)
    }

    /// A network's id; empty when there is none of that name.
    pub(crate) fn network_id(&self, caller: &Caller, name: &str) -> String {
        let network = self.control.networks().get(caller, &self.project, name);
        network.map(|network| network.meta.id.to_string()).unwrap_or_default()
    }

    /// A network's name as Docker has it, by name or id; what names none stays as it is.
    pub(crate) fn network_name(&self, caller: &Caller, name: &str) -> String {
        if name.is_empty() || matches!(name, "host" | "none" | "bridge" | "default") {
            return name.to_owned();
        }
        for predefined in ["host", "none"] {
            if name == crate::containers::made_up_id(&["network", predefined]) {
                return predefined.to_owned();
            }
        }
        match self.control.networks().get(caller, &self.project, name) {
            Ok(network) => crate::containers::docker_name(&network.meta.name).to_owned(),
            Err(_) => name.to_owned(),
        }
    }

    /// The host's addresses in a network; empty where it has none.
    pub(crate) fn gateways(&self, caller: &Caller, name: &str) -> (String, String) {
        let Ok(network) = self.control.networks().get(caller, &self.project, name) else {
            return Default::default();
        };
        let v4 = network.spec.host4().map(|net| net.addr().to_string());
        let v6 = network.spec.host6().map(|net| net.addr().to_string());
        (v4.unwrap_or_default(), v6.unwrap_or_default())
    }

    /// Processors of this node; 0 while it is not known.
    pub(crate) fn cpus(&self, caller: &Caller) -> u64 {
        let node = self.control.nodes().get(caller, "", &self.node);
        node.map(|node| node.status.cpus.milli() / 1000).unwrap_or_default()
    }

    /// Whether nobody is there who could remove what is on this node. It is done when the node is back, and clients
    /// are not held up until then.
    pub(crate) fn node_is_away(&self, caller: &Caller) -> bool {
        let node = self.control.nodes().get(caller, "", &self.node);
        !node.is_ok_and(|node| node.status.ready)
    }

    /// The image of that name or id.
    pub(crate) async fn image(&self, caller: &Caller, name: &str) -> Reply<Image> {
        let found = self.control.images().get(caller, "", name).await;
        found.map_err(|error| crate::images::missing(name, error))
    }

    /// Bytes that a container changed, and bytes of all it sees; asked of the node.
    pub(crate) async fn sizes(&self, caller: &Caller, instance: &Instance) -> (u64, u64) {
        let (instances, id) = (self.control.instances(), instance.meta.id.as_str());
        match instances.disk_size(caller, &self.project, id, "").await {
            Ok(size) => (size.written, size.written + size.image),
            Err(error) => {
                tracing::debug!(id, error = error.chain(), "the size of a container is not known");
                (0, 0)
            }
        }
    }

    /// Makes the network that containers are joined to unless told otherwise, which clients expect to
    /// be there before there is a container.
    pub(crate) async fn ensure_default_network(&self) {
        let (networks, caller) = (self.control.networks(), Caller::platform());
        if networks.get(&caller, &self.project, DEFAULT_NETWORK).is_ok() {
            return;
        }
        let new = control::New::named(DEFAULT_NETWORK, model::network::NetworkSpec::default());
        let made = networks.create(&caller, &self.project, new, control::Mode::Apply).await;
        if let Err(error) = made
            && error.kind() != ErrorKind::Exists
        {
            tracing::warn!(error = error.chain(), "the default network could not be made");
        }
    }
}
