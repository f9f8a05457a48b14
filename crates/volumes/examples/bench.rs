//! What the verbs of local volumes cost. `cargo run --release -p volumes --example bench [DIR]`; as root
//! for volumes with a size.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::{Bytes, Result};
use volumes::local::LocalDriver;
use volumes::{CreateSnapshot, CreateVolume, Driver, Publish, VolumeId, attach, detach};

const ROUNDS: usize = 20;

#[tokio::main]
async fn main() -> Result<()> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("hull-volumes-bench-{}", std::process::id()));
    let driver = LocalDriver::open(&dir)?;
    for (what, size, filesystem) in [
        ("no size", None, None),
        ("64 MiB, as the disk offers", Some(Bytes::mib(64)), None),
        ("320 MiB of ext4", Some(Bytes::mib(320)), Some("ext4")),
        ("320 MiB of xfs", Some(Bytes::mib(320)), Some("xfs")),
    ] {
        if let Err(error) = measure(&driver, what, size, filesystem).await {
            println!("{what}: {}", error.chain());
        }
    }
    drop(driver);
    let _ = std::fs::remove_dir_all(dir);
    Ok(())
}

async fn measure(
    driver: &LocalDriver,
    what: &str,
    size: Option<Bytes>,
    filesystem: Option<&str>,
) -> Result<()> {
    let mut times = [const { Vec::new() }; 6];
    for round in 0..ROUNDS {
        let id: VolumeId = format!("v{round}").parse()?;
        let snapshot: VolumeId = format!("s{round}").parse()?;
        let mut request = CreateVolume { size, ..CreateVolume::new(id.clone(), "bench") };
        request.options.extend(filesystem.map(|kind| ("filesystem".into(), kind.into())));
        let publish = Publish { volume: id.clone(), consumer: "bench".to_owned() };
        let copy =
            CreateSnapshot { id: snapshot.clone(), name: "bench".to_owned(), volume: id.clone() };
        let clock = Instant::now();
        let mut laps = Vec::new();
        let info = driver.create(request).await?;
        laps.push(clock.elapsed());
        let attached = attach(driver, publish, None).await?;
        laps.push(clock.elapsed());
        std::fs::write(attached.path.join("data"), vec![7; 16 << 20]).map_err(io)?;
        let written = clock.elapsed();
        driver.create_snapshot(copy).await?;
        let copied = clock.elapsed();
        detach(driver, &id, "bench").await?;
        let detached = clock.elapsed();
        driver.delete(&id).await?;
        let deleted = clock.elapsed();
        driver.delete_snapshot(&snapshot).await?;
        let spans = [
            laps[0],
            laps[1] - laps[0],
            copied - written,
            detached - copied,
            deleted - detached,
            clock.elapsed() - deleted,
        ];
        times.iter_mut().zip(spans).for_each(|(list, span)| list.push(span));
        if round == 0 {
            println!("{what} ({}), medians of {ROUNDS} in ms:", info.format);
        }
    }
    let names = ["create", "attach", "snapshot of 16 MiB", "detach", "delete", "delete snapshot"];
    for (name, list) in names.into_iter().zip(&mut times) {
        println!("  {name}: {:.1}", median(list).as_secs_f64() * 1000.0);
    }
    Ok(())
}

fn median(list: &mut [Duration]) -> Duration {
    list.sort();
    list[list.len() / 2]
}

fn io(error: std::io::Error) -> model::Error {
    model::Error::unavailable("the volume cannot be written").caused_by(error)
}
