//! A picture of a machine's screen. QEMU writes it as PPM, which all of its versions can, into a
//! directory of its own user; whoever broke out of a guest may have put anything there. So the file is
//! opened without following links, must be plain and no longer than a screen can be, and what is
//! handed out is a PNG of our own making.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::{FileType, Mode, OFlags};

/// Longest picture that is read, in bytes: 7680 by 4320 pixels.
const LONGEST: u64 = 100 << 20;
/// Longest head of a PPM picture that QEMU writes.
const HEAD: usize = 64;

/// Reads the picture that QEMU wrote to `path`, as PNG, and removes it.
///
/// # Errors
/// `Unavailable` when there is none, or not a picture.
pub fn take(path: &Path) -> Result<Vec<u8>> {
    let read = read(path);
    // Whatever it is, it is no link that would be followed.
    let _ = std::fs::remove_file(path);
    png(&read?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = || "the picture of the screen cannot be read".to_owned();
    // A pipe does not hold us up: it is opened at once, and then refused.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.context(ErrorKind::Unavailable, failed)?);
    let stat = rustix::fs::fstat(&file).context(ErrorKind::Unavailable, failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::unavailable("the picture of the screen is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).context(ErrorKind::Unavailable, failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::unavailable("the picture of the screen is larger than any screen"));
    }
    Ok(bytes)
}

/// Turns a PPM picture (`P6`, ppm(5)) with a byte for each colour into PNG.
///
/// # Errors
/// `Unavailable` when it is none.
pub fn png(ppm: &[u8]) -> Result<Vec<u8>> {
    let (width, height, pixels) = parse(ppm)
        .ok_or_else(|| Error::unavailable("QEMU wrote a picture of the screen that is none"))?;
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let write = |mut writer: png::Writer<_>| {
        writer.write_image_data(pixels)?;
        writer.finish()
    };
    let written = encoder.write_header().and_then(write);
    written.context(ErrorKind::Internal, || "a picture cannot be encoded".to_owned())?;
    Ok(out)
}

/// Width, height and pixels.
fn parse(ppm: &[u8]) -> Option<(u32, u32, &[u8])> {
    let mut at = 0;
    let head = &ppm[..ppm.len().min(HEAD)];
    let mut word = || {
        let start = at + head.get(at..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let end = start + head[start..].iter().position(u8::is_ascii_whitespace)?;
        at = end;
        std::str::from_utf8(&head[start..end]).ok()
    };
    if word()? != "P6" {
        return None;
    }
    let mut number = || word()?.parse::<u32>().ok();
    let (width, height, most) = (number()?, number()?, number()?);
    // One white space ends the head.
    let pixels = ppm.get(at + 1..)?;
    let length = u64::from(width).checked_mul(u64::from(height))?.checked_mul(3)?;
    let whole = most == 255 && width > 0 && height > 0 && pixels.len() as u64 == length;
    whole.then_some((width, height, pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_the_same_as_png() {
        let pixels: Vec<u8> = (0..2 * 3 * 3).collect();
        let ppm = [b"P6\n2 3\n255\n", pixels.as_slice()].concat();
        let png = png(&ppm).unwrap();
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let mut reader = decoder.read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (2, 3));
        let mut back = vec![0; pixels.len()];
        reader.next_frame(&mut back).unwrap();
        assert_eq!(back, pixels);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let cases: [&[u8]; 10] = [
            b"",
            b"P6",
            b"P6\n",
            b"P5\n1 1\n255\n\0\0\0",
            b"P6\n1 1\n65535\n\0\0\0",
            b"P6\n1 1\n255\n\0\0",
            b"P6\n1 1\n255\n\0\0\0\0",
            b"P6\n0 1\n255\n",
            b"P6\n4294967295 4294967295\n255\n\0",
            b"P6\n-1 1\n255\n\0\0\0",
        ];
        for ppm in cases {
            assert_eq!(png(ppm).unwrap_err().kind(), ErrorKind::Unavailable);
        }
    }

    #[test]
    fn what_lies_there_is_not_trusted_and_removed() {
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        std::fs::write(&secret, b"P6\n1 1\n255\n\0\0\0").unwrap();
        let path = place.path().join("screen.ppm");
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        take(&path).unwrap_err();
        assert!(path.symlink_metadata().is_err() && secret.exists());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(take(&path).unwrap_err().message(), "the picture of the screen is not a file");
        assert!(path.symlink_metadata().is_err());
        std::fs::create_dir(&path).unwrap();
        take(&path).unwrap_err();
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&secret, &path).unwrap();
        assert!(take(&path).unwrap().starts_with(b"\x89PNG"));
        assert!(!path.exists());
    }
}
