//! Names of images, and what they point at.

use std::collections::{BTreeMap, HashMap};

use containerd_client::services::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest,
    UpdateImageRequest,
};
use containerd_client::types::Descriptor;
use model::{Error, Result, Time};
use prost_types::FieldMask;
use tonic::Code;

use super::leases::Lease;
use super::status::{self, Explain, gone};
use super::{Containerd, QUICK, SLOW, call, wire};

/// What a name points at: an index or a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `application/vnd.oci.image.index.v1+json` and the like.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes of it.
    pub size: u64,
}

/// A name of an image. It keeps what it points at from the garbage collector, and whatever that
/// keeps by its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// In full, with tag or digest.
    pub name: String,
    /// What it points at.
    pub target: Target,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When the name was given.
    pub created: Option<Time>,
    /// When it last changed.
    pub updated: Option<Time>,
}

impl Containerd {
    /// The image of that name; `None` when there is none.
    pub async fn image(&self, name: &str) -> Result<Option<ImageRecord>> {
        let request = call(GetImageRequest { name: name.to_owned() }, QUICK);
        let found = gone(self.client().images().get(request).await)
            .explain(|| format!("image {name} cannot be looked up"))?;
        found.and_then(|answer| answer.into_inner().image).map(record).transpose()
    }

    /// All names.
    pub async fn images(&self) -> Result<Vec<ImageRecord>> {
        let request = call(ListImagesRequest { filters: Vec::new() }, SLOW);
        let answer = self.client().images().list(request).await;
        let images = answer.explain(|| "the images cannot be listed".to_owned())?.into_inner();
        images.images.into_iter().map(record).collect()
    }

    /// Gives a name to an image, taking it and its labels from another that has it.
    pub async fn put_image(
        &self,
        name: &str,
        target: &Target,
        labels: BTreeMap<String, String>,
        lease: Option<&Lease>,
    ) -> Result<()> {
        let failed = || format!("image {name} cannot be recorded");
        let image = Image {
            name: name.to_owned(),
            labels: labels.into_iter().collect::<HashMap<_, _>>(),
            target: Some(Descriptor {
                media_type: target.media_type.clone(),
                digest: target.digest.clone(),
                size: i64::try_from(target.size).unwrap_or(i64::MAX),
                annotations: HashMap::new(),
            }),
            ..Image::default()
        };
        let request = CreateImageRequest { image: Some(image.clone()), source_date_epoch: None };
        let request = Lease::over(lease, call(request, QUICK)).explain(failed)?;
        match self.client().images().create(request).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(status::error(status, failed())),
        }
        let paths = ["target", "labels"].map(str::to_owned).to_vec();
        let request = UpdateImageRequest {
            image: Some(image),
            update_mask: Some(FieldMask { paths }),
            source_date_epoch: None,
        };
        let request = Lease::over(lease, call(request, QUICK)).explain(failed)?;
        self.client().images().update(request).await.explain(failed).map(drop)
    }

    /// Takes a name away; one that is gone is taken away. With `sync` it returns when the garbage
    /// collector has been through.
    pub async fn delete_image(&self, name: &str, sync: bool) -> Result<()> {
        let request = DeleteImageRequest { name: name.to_owned(), sync, target: None };
        gone(self.client().images().delete(call(request, SLOW)).await)
            .explain(|| format!("image {name} cannot be removed"))
            .map(drop)
    }
}

fn record(image: Image) -> Result<ImageRecord> {
    let target = image
        .target
        .ok_or_else(|| Error::internal(format!("image {} points at nothing", image.name)))?;
    Ok(ImageRecord {
        name: image.name,
        target: Target {
            media_type: target.media_type,
            digest: target.digest,
            size: u64::try_from(target.size).unwrap_or(0),
        },
        labels: image.labels.into_iter().collect(),
        created: wire::time(image.created_at),
        updated: wire::time(image.updated_at),
    })
}
