//! Calls about instances, each handed to its file.

use async_trait::async_trait;
use bytes::Bytes;
use containers::WindowSize;
use link::image::{
    ImageDetail, ImportRequest, Listing, Login, Progress, PruneRequest, PullRequest, Removed,
    SearchHit, SearchRequest, SizedImage,
};
use link::instance::{
    AttachRequest, Change, CommitRequest, DiskSize, ExecRequest, LogRecord, LogsRequest, PathStat,
    ProcessTable, Stats, Target,
};
use link::{ByteStream, ConsoleCalls, Display, ImageCalls, InstanceCalls, ResultStream, Session};
use model::image::Image;
use model::instance::GuestFacts;
use model::{Error, Result};

use super::images::registry;
use super::{Calls, archive, attach, console, exec, guest, images, inspect, logs};

#[async_trait]
impl InstanceCalls for Calls {
    async fn logs(&self, target: Target, request: LogsRequest) -> Result<ResultStream<LogRecord>> {
        logs::logs(self, &target, request).await
    }

    async fn attach(&self, target: Target, request: AttachRequest) -> Result<Session> {
        attach::attach(self, &target, request).await
    }

    async fn exec(&self, target: Target, request: ExecRequest) -> Result<Session> {
        exec::exec(self, &target, request).await
    }

    async fn kill(&self, target: Target, signal: String) -> Result<()> {
        let found = self.find_live(&target, true)?;
        let signal = containers::Signal::or_term(&signal)?;
        self.context.engine.kill(&found.id, signal).await
    }

    async fn resize(&self, target: Target, width: u16, height: u16) -> Result<()> {
        let found = self.find_live(&target, true)?;
        self.context.engine.resize(&found.id, WindowSize { width, height }).await
    }

    async fn stats(&self, target: Target, follow: bool) -> Result<ResultStream<Stats>> {
        inspect::stats(self, &target, follow)
    }

    async fn top(&self, target: Target, options: String) -> Result<ProcessTable> {
        match guest::of(self, &target)? {
            Some(agent) => guest::top(&agent, &options).await,
            None => inspect::top(self, &target, &options).await,
        }
    }

    async fn stat_path(&self, target: Target, path: String) -> Result<PathStat> {
        match guest::of(self, &target)? {
            Some(agent) => guest::stat_path(&agent, &path).await,
            None => archive::stat_path(self, &target, &path).await,
        }
    }

    async fn read_archive(&self, target: Target, path: String) -> Result<(PathStat, ByteStream)> {
        match guest::of(self, &target)? {
            Some(agent) => guest::read_archive(&agent, &path).await,
            None => archive::read_archive(self, &target, &path).await,
        }
    }

    async fn write_archive(
        &self,
        target: Target,
        path: String,
        keep_type: bool,
        archive: ByteStream,
    ) -> Result<()> {
        match guest::of(self, &target)? {
            // tar replaces no directory that holds something by a file.
            Some(agent) => guest::write_archive(&agent, &path, archive).await,
            None => archive::write_archive(self, &target, &path, keep_type, archive).await,
        }
    }

    async fn diff(&self, target: Target) -> Result<Vec<Change>> {
        guest::not_of_a_machine(self, &target, "look into it: hull exec, hull cp")?;
        inspect::diff(self, &target).await
    }

    async fn disk_size(&self, target: Target) -> Result<DiskSize> {
        inspect::disk_size(self, &target).await
    }

    async fn guest(&self, target: Target) -> Result<GuestFacts> {
        match guest::of(self, &target)? {
            Some(agent) => guest::facts(&agent).await,
            None => Err(Error::unsupported("a container has no guest")),
        }
    }

    async fn commit(&self, target: Target, request: CommitRequest) -> Result<String> {
        inspect::commit(self, &target, request).await
    }

    async fn export(&self, target: Target) -> Result<ByteStream> {
        guest::not_of_a_machine(self, &target, "make an image of it: hull commit")?;
        archive::export(self, &target).await
    }
}

#[async_trait]
impl ConsoleCalls for Calls {
    async fn display(&self, target: Target) -> Result<Display> {
        console::display(self, &target).await
    }

    async fn screenshot(&self, target: Target) -> Result<Bytes> {
        console::screenshot(self, &target).await
    }
}

#[async_trait]
impl ImageCalls for Calls {
    async fn image_list(&self) -> Result<Vec<Image>> {
        images::list(&self.context).await
    }

    async fn image_show(&self, name: String) -> Result<Image> {
        self.context.images.local.show(&name).await
    }

    async fn image_pull(&self, request: PullRequest) -> Result<ResultStream<Progress>> {
        images::pull(self, &request)
    }

    async fn image_push(
        &self,
        name: String,
        login: Option<Login>,
    ) -> Result<ResultStream<Progress>> {
        images::push(self, name, login)
    }

    async fn image_import(
        &self,
        request: ImportRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        let archive = match request.source.as_str() {
            "" => archive,
            source => ::images::download(source).await?,
        };
        match request.disk.clone() {
            Some(disk) => images::disk::import(self, &request, disk, archive),
            None => images::import(self, &request, archive),
        }
    }

    async fn image_save(&self, names: Vec<String>) -> Result<ByteStream> {
        images::save(self, &names).await
    }

    async fn image_export(&self, name: String, format: String) -> Result<ByteStream> {
        images::disk::export(self, &name, &format).await
    }

    async fn image_tag(&self, name: String, new: String, plan: bool) -> Result<()> {
        images::tag(self, &name, &new, plan).await
    }

    async fn image_remove(&self, name: String, force: bool, plan: bool) -> Result<Removed> {
        images::remove(self, &name, force, plan).await
    }

    async fn image_untag(&self, name: String) -> Result<()> {
        images::untag(self, &name).await
    }

    async fn image_prune(&self, request: PruneRequest) -> Result<Removed> {
        images::prune(self, request).await
    }

    async fn image_detail(&self, name: String) -> Result<ImageDetail> {
        images::detail(self, &name).await
    }

    async fn image_sizes(&self) -> Result<Vec<SizedImage>> {
        let sized = self.context.images.local.sizes().await?.into_iter();
        Ok(sized.map(|(image, layers)| SizedImage { image, layers }).collect())
    }

    async fn registry_look_up(&self, name: String, login: Option<Login>) -> Result<Listing> {
        registry::look_up(self, &name, login.as_ref()).await
    }

    async fn registry_tags(&self, name: String, login: Option<Login>) -> Result<Vec<String>> {
        registry::tags(self, &name, login.as_ref()).await
    }

    async fn registry_search(&self, request: SearchRequest) -> Result<Vec<SearchHit>> {
        registry::search(self, &request).await
    }

    async fn registry_check(&self, login: Login) -> Result<Login> {
        registry::check(self, login).await
    }

    async fn registry_login(&self, login: Login) -> Result<()> {
        registry::login(self, &login).await
    }

    async fn registry_logout(&self, registry: String) -> Result<()> {
        registry::logout(self, &registry).await
    }
}
