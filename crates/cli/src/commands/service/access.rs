//! Flags for how a service is reached and what it waits for.

use clap::{Args, ValueEnum};
use model::service::{Access, AccessMode, Affinity, Dependency, DependencyCondition, ServiceSpec};
use model::{Error, Result, Span};

/// How a service is reached, and what it waits for.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessFlags {
    /// What its name stands for
    #[arg(long, value_enum)]
    endpoint_mode: Option<EndpointMode>,
    /// Which instance a client is led to
    #[arg(long, value_enum)]
    affinity: Option<Sticky>,
    /// Time for which an instance that is to end takes no new connections
    #[arg(long, value_name = "TIME")]
    drain: Option<Span>,
    /// Wait for another service: started, healthy or complete; `restart`: be made anew with it;
    /// `optional`: only where it is there
    #[arg(long, value_name = "NAME[:HOW[:restart][:optional]]")]
    depends_on: Vec<String>,
    /// Wait for a service no more
    #[arg(long, value_name = "NAME")]
    depends_on_rm: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EndpointMode {
    /// One address that stays, behind which connections are spread
    Vip,
    /// The addresses of all instances that are ready, in turn
    Dnsrr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sticky {
    /// Each connection to the next one
    None,
    /// Those of one address to the same one
    Client,
}

impl AccessFlags {
    /// Lays what was given over a service.
    pub fn lay_over(&self, spec: &mut ServiceSpec) -> Result<()> {
        let Access { mode, affinity, drain } = &mut spec.access;
        match self.endpoint_mode {
            Some(EndpointMode::Vip) => *mode = AccessMode::VirtualAddress,
            Some(EndpointMode::Dnsrr) => *mode = AccessMode::EachInstance,
            None => {}
        }
        match self.affinity {
            Some(Sticky::None) => *affinity = Affinity::None,
            Some(Sticky::Client) => *affinity = Affinity::ClientAddress,
            None => {}
        }
        *drain = self.drain.or(*drain).filter(|drain| !drain.0.is_zero());
        for text in &self.depends_on {
            let new = dependency(text)?;
            spec.depends_on.retain(|old| old.service != new.service);
            spec.depends_on.push(new);
        }
        spec.depends_on.retain(|old| !self.depends_on_rm.contains(&old.service));
        Ok(())
    }
}

fn dependency(text: &str) -> Result<Dependency> {
    let mut words = text.split(':');
    let mut dependency = Dependency {
        service: words.next().unwrap_or_default().to_owned(),
        condition: DependencyCondition::Started,
        required: true,
        restart: false,
    };
    for word in words {
        match word {
            "started" => dependency.condition = DependencyCondition::Started,
            "healthy" => dependency.condition = DependencyCondition::Healthy,
            "complete" => dependency.condition = DependencyCondition::Completed,
            "restart" => dependency.restart = true,
            "optional" => dependency.required = false,
            _ => {
                return Err(Error::invalid(format!("{text:?} does not say what to wait for"))
                    .at("--depends-on")
                    .next("write it like db:healthy or cache:started:optional"));
            }
        }
    }
    Ok(dependency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_to_wait_for() {
        let found = dependency("db").unwrap();
        assert_eq!((found.condition, found.required), (DependencyCondition::Started, true));
        let found = dependency("db:healthy:restart:optional").unwrap();
        assert_eq!((found.condition, found.required), (DependencyCondition::Healthy, false));
        assert!(found.restart && found.service == "db");
        assert_eq!(dependency("db:soon").unwrap_err().field(), Some("--depends-on"));
    }
}
