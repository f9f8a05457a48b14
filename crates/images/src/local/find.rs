//! Names and ids to images.

use std::collections::BTreeMap;

use model::image::{Image, Reference};
use model::{Error, Result};

use super::summary::Group;
use super::{Images, Opened};
use crate::content::ImageRecord;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::platform::Platform;

impl Images {
    /// What `reference` points at here.
    pub(crate) async fn target(&self, reference: &Reference) -> Result<Option<Descriptor>> {
        Ok(self.record(reference).await?.map(|record| record.target))
    }

    /// The record of `reference`.
    pub(crate) async fn record(&self, reference: &Reference) -> Result<Option<ImageRecord>> {
        self.store.image(&record_name(reference)).await
    }

    /// The image, if all of it is here, unpacked, and fit for `platform`.
    pub(crate) async fn whole(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Opened>> {
        let Some(target) = self.target(reference).await? else { return Ok(None) };
        let Some(opened) = self.open(&target, platform).await? else { return Ok(None) };
        let store = &*self.store;
        // What cannot be unpacked now is made good, or said better, by a pull.
        let whole = opened.fits(platform)
            && opened.complete(store).await?
            && self.unpack_opened(&opened).await.is_ok();
        Ok(whole.then_some(opened))
    }

    /// What the model knows of an image, with all its names.
    pub(crate) async fn show_opened(&self, opened: &Opened) -> Result<Image> {
        let id = opened.manifest.config.digest.as_str();
        let groups = self.all_for(&platform_of(opened)).await?;
        let known = groups.into_iter().find(|group| group.id() == id);
        let mut group = known.unwrap_or_else(|| empty(opened));
        group.opened.clone_from(opened);
        Ok(group.summary())
    }

    /// All images with their names. A record whose documents are damaged or not here is left out: it is
    /// seen again when it is pulled again.
    pub(crate) async fn all(&self) -> Result<Vec<Group>> {
        self.all_for(&Platform::host()).await
    }

    async fn all_for(&self, platform: &Platform) -> Result<Vec<Group>> {
        let mut groups: BTreeMap<Digest, Group> = BTreeMap::new();
        let mut opened: BTreeMap<Digest, Option<Opened>> = BTreeMap::new();
        for record in self.store.images().await? {
            let target = &record.target.digest;
            if !opened.contains_key(target) {
                let read = self.open_kept(&record.target, platform).await.unwrap_or_else(|error| {
                    let cause = error.chain();
                    tracing::warn!(name = record.name, cause, "image cannot be read");
                    None
                });
                opened.insert(target.clone(), read);
            }
            if let Some(Some(opened)) = opened.get(target) {
                let id = opened.manifest.config.digest.clone();
                groups.entry(id).or_insert_with(|| empty(opened)).add(record, opened);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// The image called `name`.
    pub(crate) async fn group(&self, name: &str) -> Result<Group> {
        self.try_group(name).await?.ok_or_else(|| {
            Error::not_found(format!("image {name} does not exist here"))
                .next("see hull image ls, or pull it with hull image pull")
        })
    }

    /// As Docker looks it up: a full id, a name, the digest of a manifest, the beginning of an id.
    pub(crate) async fn try_group(&self, name: &str) -> Result<Option<Group>> {
        let groups = self.all().await?;
        let text = name.strip_prefix("sha256:").unwrap_or(name);
        let id = |group: &Group| group.opened.manifest.config.digest.hex().to_owned();
        if let Some(group) = groups.iter().find(|group| id(group) == text) {
            return Ok(Some(group.clone()));
        }
        match by_name(name, &groups) {
            Some((group, target)) => self.shown_as(group, &target).await.map(Some),
            None => by_prefix(name, text, groups),
        }
    }

    /// The group as a name that points at `target` shows it.
    async fn shown_as(&self, mut group: Group, target: &Descriptor) -> Result<Group> {
        if group.opened.target != *target
            && let Some(opened) = self.open(target, &Platform::host()).await?
        {
            group.opened = opened;
        }
        Ok(group)
    }
}

/// The group with that name or manifest, and what that points at.
fn by_name(name: &str, groups: &[Group]) -> Option<(Group, Descriptor)> {
    let wanted = Reference::parse(name).map(|reference| record_name(&reference)).ok();
    let named = |record: &&ImageRecord| {
        wanted.as_ref() == Some(&record.name)
            || record.name == name
            || record.target.digest.as_str() == name
    };
    groups.iter().find_map(|group| {
        let record = group.records.iter().find(named)?;
        Some((group.clone(), record.target.clone()))
    })
}

fn by_prefix(name: &str, text: &str, groups: Vec<Group>) -> Result<Option<Group>> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let begins = |group: &Group| group.opened.manifest.config.digest.hex().starts_with(text);
    let mut found = groups.into_iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Error::invalid(format!("several images begin with {name}"))
            .next("give more digits of the id")),
        (group, _) => Ok(group),
    }
}

/// The record of a reference: the digest counts where there is one.
fn record_name(reference: &Reference) -> String {
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => format!("{}@{digest}", reference.name()),
        (None, Some(tag)) => format!("{}:{tag}", reference.name()),
        (None, None) => format!("{}:latest", reference.name()),
    }
}

fn platform_of(opened: &Opened) -> Platform {
    opened.config.platform().unwrap_or_else(Platform::host)
}

fn empty(opened: &Opened) -> Group {
    let (names, digests, records) = (Vec::new(), Vec::new(), Vec::new());
    Group { opened: opened.clone(), names, digests, records }
}

impl Group {
    fn add(&mut self, record: ImageRecord, opened: &Opened) {
        let name = &record.name;
        if name.contains('@') {
            self.digests.push(name.clone());
        } else if Digest::parse(name).is_err() {
            // What a tag points at is what counts.
            if self.names.is_empty() {
                self.opened.clone_from(opened);
            }
            self.names.push(name.clone());
        }
        self.records.push(record);
    }
}
