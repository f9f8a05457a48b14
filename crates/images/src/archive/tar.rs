//! A tar reader that is fed: it takes bytes as they come and tells what it sees (POSIX `pax`,
//! GNU and V7 headers). Written here rather than taken because it must see a layer pass by on its
//! way into the store, never hold more than an extension header, and read a header exactly as Go's
//! `archive/tar` does, which is what will unpack the layer.

use std::fmt;

/// Longest extension (long name or pax record block) that is taken: Go's limit.
const EXTENSION_LIMIT: u64 = 1 << 20;
const BLOCK: usize = 512;

/// Why it is not a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(text.into()))
}

/// What sort of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Device,
    Directory,
    Fifo,
}

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Bytes that follow in the archive.
    pub size: u64,
    /// Bytes of the file when unpacked: more than `size` for a sparse one.
    pub unpacked: u64,
}

/// What is seen next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Entry(Entry),
    /// Bytes of the last entry.
    Data(&'a [u8]),
}

/// How the input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the blocks that end a tar.
    Marked,
    /// After a whole entry.
    Bare,
}

/// ```text
///            ┌──────────────── data and padding done ───────────────┐
///            ↓                                                       │
/// Header ─→ Extension ─→ Header        Header ─→ (Sparse ─→) Data ───┘
///    └─ zero block ─→ HalfEnd ─ zero block ─→ End
/// ```
#[derive(Debug)]
enum State {
    Header,
    HalfEnd,
    Extension { kind: u8, left: Left },
    Sparse { entry: Entry },
    Data { left: Left },
    End,
}

/// What is still to come of an entry or extension, and the bytes that fill its last block.
#[derive(Debug, Clone, Copy)]
struct Left {
    bytes: u64,
    padding: u64,
}

impl Left {
    fn of(size: u64) -> Self {
        Self { bytes: size, padding: size.next_multiple_of(BLOCK as u64) - size }
    }
}

/// Reads a tar that is fed to it.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// A block, or an extension's bytes, in the making.
    gathered: Vec<u8>,
    /// Bytes to skip before anything else.
    padding: u64,
    pending: Pending,
}

/// What extension headers said about the entry to come.
#[derive(Debug, Default)]
struct Pending {
    any: bool,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Pax,
}

/// What pax records said about the entry to come.
#[derive(Debug, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
}

impl Scanner {
    pub fn new() -> Self {
        let gathered = Vec::with_capacity(BLOCK);
        Self { state: State::Header, gathered, padding: 0, pending: Pending::default() }
    }

    /// Takes from the front of `input` and tells what it saw; `None` when all of it is taken.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Fault> {
        loop {
            self.padding -= take(input, self.padding).len() as u64;
            if input.is_empty() {
                return Ok(None);
            }
            if let State::Data { left } = &mut self.state {
                let data = take(input, left.bytes);
                left.bytes -= data.len() as u64;
                if left.bytes == 0 {
                    self.padding = left.padding;
                    self.state = State::Header;
                }
                return Ok(Some(Event::Data(data)));
            }
            if let Some(entry) = self.advance(input)? {
                return Ok(Some(Event::Entry(entry)));
            }
        }
    }

    /// Says how the input ended; a fault if in the middle of something.
    pub fn finish(&self) -> Result<Ending, Fault> {
        let between = self.gathered.is_empty() && self.padding == 0 && !self.pending.any;
        match self.state {
            State::End => Ok(Ending::Marked),
            State::HalfEnd if between => Ok(Ending::Marked),
            State::Header if between => Ok(Ending::Bare),
            State::Header
            | State::HalfEnd
            | State::Extension { .. }
            | State::Sparse { .. }
            | State::Data { .. } => fault("it is cut off"),
        }
    }

    /// One step of any state but `Data`.
    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Entry>, Fault> {
        match std::mem::replace(&mut self.state, State::End) {
            State::End => *input = &[],
            State::Extension { kind, left } => self.extension(kind, left, input)?,
            state => {
                let wanted = (BLOCK - self.gathered.len()) as u64;
                self.gathered.extend_from_slice(take(input, wanted));
                if self.gathered.len() < BLOCK {
                    self.state = state;
                    return Ok(None);
                }
                let block = std::mem::take(&mut self.gathered);
                return self.block(state, &block);
            }
        }
        Ok(None)
    }

    fn extension(&mut self, kind: u8, mut left: Left, input: &mut &[u8]) -> Result<(), Fault> {
        let data = take(input, left.bytes);
        self.gathered.extend_from_slice(data);
        left.bytes -= data.len() as u64;
        if left.bytes > 0 {
            self.state = State::Extension { kind, left };
            return Ok(());
        }
        let data = std::mem::take(&mut self.gathered);
        self.padding = left.padding;
        self.state = State::Header;
        self.pending.take_in(kind, data)
    }

    fn block(&mut self, state: State, block: &[u8]) -> Result<Option<Entry>, Fault> {
        let zero = block.iter().all(|byte| *byte == 0);
        match state {
            State::Sparse { entry } => Ok(self.sparse_block(entry, block)),
            State::HalfEnd if zero => Ok(None), // The state is End already.
            State::HalfEnd => fault("a lone zero block stands in the middle"),
            State::Header if zero && !self.pending.any => {
                self.state = State::HalfEnd;
                Ok(None)
            }
            State::Header => self.header(block),
            State::Extension { .. } | State::Data { .. } | State::End => Ok(None),
        }
    }

    /// A further block of an old GNU sparse map; the byte at 504 says whether one more follows.
    fn sparse_block(&mut self, entry: Entry, block: &[u8]) -> Option<Entry> {
        if block[504] != 0 {
            self.state = State::Sparse { entry };
            return None;
        }
        self.begin_data(entry.size);
        Some(entry)
    }

    fn begin_data(&mut self, size: u64) {
        self.state = match size {
            0 => State::Header,
            size => State::Data { left: Left::of(size) },
        };
    }

    fn header(&mut self, block: &[u8]) -> Result<Option<Entry>, Fault> {
        check_sum(block)?;
        let size = number(&block[124..136])?;
        let kind = match block[156] {
            b'L' | b'K' | b'x' | b'g' => return self.begin_extension(block[156], size),
            0 | b'0' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return fault(format!("an entry is of the unknown type {:?}", other as char)),
        };
        let mut entry = std::mem::take(&mut self.pending).entry(block, kind, size)?;
        if block[156] == b'S' {
            entry.unpacked = entry.unpacked.max(number(&block[483..495])?);
            if block[482] != 0 {
                self.state = State::Sparse { entry };
                return Ok(None);
            }
        }
        self.begin_data(entry.size);
        Ok(Some(entry))
    }

    fn begin_extension(&mut self, kind: u8, size: u64) -> Result<Option<Entry>, Fault> {
        if size > EXTENSION_LIMIT {
            return fault(format!("an extension header has {size} bytes"));
        }
        self.pending.any = true;
        self.state = State::Extension { kind, left: Left::of(size) };
        if size == 0 {
            self.state = State::Header;
            self.pending.take_in(kind, Vec::new())?;
        }
        Ok(None)
    }
}

impl Pending {
    fn take_in(&mut self, kind: u8, data: Vec<u8>) -> Result<(), Fault> {
        match kind {
            b'L' => self.long_name = Some(until_nul(&data).to_vec()),
            b'K' => self.long_link = Some(until_nul(&data).to_vec()),
            b'x' => self.pax = Pax::parse(&data)?,
            // Global records: Go, and so containerd, ignores what they say.
            _ => _ = Pax::parse(&data)?,
        }
        Ok(())
    }

    /// GNU's long names win over pax records, and these over the header's own fields, as in Go.
    fn entry(self, block: &[u8], kind: Kind, size: u64) -> Result<Entry, Fault> {
        let Pending { any: _, long_name, long_link, pax } = self;
        let Pax { path, link, size: pax_size, sparse_name, sparse_size } = pax;
        let path = long_name.or(sparse_name).or(path).unwrap_or_else(|| header_path(block));
        let link = long_link.or(link).unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
        let size = pax_size.unwrap_or(size);
        let kind = match kind {
            Kind::File if path.ends_with(b"/") => Kind::Directory,
            kind => kind,
        };
        if path.contains(&0) || link.contains(&0) {
            return fault("a name has a NUL in it");
        }
        // As in Go: only files have data, whatever the size of others says.
        let size = if kind == Kind::File { size } else { 0 };
        Ok(Entry { path, link, kind, size, unpacked: size.max(sparse_size.unwrap_or(0)) })
    }
}

impl Pax {
    /// Reads records of the form `<length> <key>=<value>\n`.
    fn parse(mut data: &[u8]) -> Result<Self, Fault> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let (key, value, rest) =
                record(data).ok_or_else(|| Fault("a pax record is damaged".into()))?;
            pax.set(key, value)?;
            data = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text,
            b"linkpath" => self.link = text,
            b"size" => self.size = decimal(value)?,
            b"GNU.sparse.name" => self.sparse_name = text,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse_size = decimal(value)?,
            _ => {}
        }
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(data: &[u8]) -> Option<Record<'_>> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], rest))
}

fn decimal(value: &[u8]) -> Result<Option<u64>, Fault> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if number <= i64::MAX as u64 => Ok(Some(number)),
        _ => fault("a pax record has a bad number"),
    }
}

fn take<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
    let (taken, rest) = input.split_at(length);
    *input = rest;
    taken
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// The name, behind its prefix in the formats that have one.
fn header_path(block: &[u8]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = match &block[257..263] {
        b"ustar\0" if &block[508..512] == b"tar\0" => until_nul(&block[345..476]),
        b"ustar\0" => until_nul(&block[345..500]),
        _ => &[],
    };
    match prefix {
        [] => name.to_vec(),
        prefix => [prefix, b"/", name].concat(),
    }
}

/// The sum of all bytes, its own field counted as blanks; some old programs summed signed bytes.
fn check_sum(block: &[u8]) -> Result<(), Fault> {
    let expected = number(&block[148..156])?;
    let bytes = || {
        block.iter().enumerate().map(|(at, byte)| match at {
            148..156 => b' ',
            _ => *byte,
        })
    };
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    if expected == unsigned || i64::try_from(expected) == Ok(signed) {
        Ok(())
    } else {
        fault("a header's checksum is wrong")
    }
}

/// Octal digits, or GNU's big-endian binary with the top bit set.
fn number(field: &[u8]) -> Result<u64, Fault> {
    let bad = || Fault("a header has a bad number".into());
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        let value = field[1..].iter().try_fold(first, |value, byte| {
            (value >> 55 == 0).then_some(value << 8 | u64::from(*byte))
        });
        return value.ok_or_else(bad);
    }
    let text = std::str::from_utf8(until_nul(field)).map_err(|_| bad())?.trim_matches(' ');
    match text {
        "" => Ok(0),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            u64::from_str_radix(text, 8).map_err(|_| bad())
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(data: &[u8], piece: usize) -> Result<(Vec<Entry>, Vec<u8>, Ending), Fault> {
        let mut scanner = Scanner::new();
        let (mut entries, mut content) = (Vec::new(), Vec::new());
        for mut input in data.chunks(piece) {
            while let Some(event) = scanner.next(&mut input)? {
                match event {
                    Event::Entry(entry) => entries.push(entry),
                    Event::Data(data) => content.extend_from_slice(data),
                }
            }
        }
        Ok((entries, content, scanner.finish()?))
    }

    fn sample() -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        let mut header = ::tar::Header::new_gnu();
        header.set_size(700);
        builder.append_data(&mut header, "short", &[1; 700][..]).unwrap();
        header.set_size(3);
        builder.append_data(&mut header, "long/".repeat(60) + "name", &b"abc"[..]).unwrap();
        let mut link = ::tar::Header::new_gnu();
        link.set_entry_type(::tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "link", "to/".repeat(50)).unwrap();
        builder.append_pax_extensions([("path", &b"pax/name"[..]), ("comment", b"x")]).unwrap();
        header.set_size(1);
        builder.append_data(&mut header, "other", &b"z"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn the_same_in_pieces_of_any_size() {
        let data = sample();
        let whole = scan(&data, data.len()).unwrap();
        let paths: Vec<String> =
            whole.0.iter().map(|entry| String::from_utf8(entry.path.clone()).unwrap()).collect();
        assert_eq!(paths, ["short", &("long/".repeat(60) + "name"), "link", "pax/name"]);
        assert_eq!(whole.0[2].link, "to/".repeat(50).into_bytes());
        assert_eq!(whole.1.len(), 704);
        assert_eq!(whole.2, Ending::Marked);
        for piece in [1, 7, 511, 512, 513, 1000] {
            assert_eq!(scan(&data, piece).unwrap(), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn cut_anywhere_is_noticed() {
        let data = sample();
        let (all, ..) = scan(&data, 512).unwrap();
        for end in 1..data.len() - 1024 {
            if let Ok((entries, ..)) = scan(&data[..end], 512) {
                assert!(end % 512 == 0 && entries.len() < all.len() || entries.len() == all.len());
            }
        }
        assert_eq!(scan(b"", 1).unwrap().2, Ending::Bare);
    }

    fn header(kind: u8, size: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..4].copy_from_slice(b"name");
        block[124..124 + size.len()].copy_from_slice(size);
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block[155] = b' ';
        block
    }

    #[test]
    fn headers_that_are_refused() {
        let mut wrong_sum = header(b'0', b"0");
        wrong_sum[0] = b'x';
        let lone_zero = [vec![0; BLOCK], header(b'0', b"0")].concat();
        let pax = |text: &str| {
            let mut data = header(b'x', format!("{:o}", text.len()).as_bytes());
            data.extend_from_slice(text.as_bytes());
            data.resize(2 * BLOCK, 0);
            [data, header(b'0', b"0")].concat()
        };
        for (data, expected) in [
            (wrong_sum, "checksum"),
            (header(b'7', b"0"), "unknown type"),
            (header(b'Z', b"0"), "unknown type"),
            (header(b'0', b"9"), "number"),
            (header(b'0', b"-1"), "number"),
            (header(b'0', &[0xff; 12]), "number"),
            (header(b'L', b"77777777777"), "extension header"),
            (header(b'x', &[0x80, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]), "extension header"),
            (lone_zero, "zero block"),
            (pax("9999 path=x\n"), "damaged"),
            (pax("3 x\n"), "damaged"),
            (pax("18446744073709551615 a=b\n"), "damaged"),
            (pax("13 size=-100\n"), "bad number"),
            (pax("12 path=a\0b\n"), "NUL"),
        ] {
            let fault = scan(&data, 512).unwrap_err();
            assert!(fault.0.contains(expected), "{fault}, expected {expected}");
        }
    }

    #[test]
    fn sparse_files_count_what_they_unpack_to() {
        let mut data = header(b'S', b"1000");
        data[483..494].copy_from_slice(b"77777777777");
        data[482] = 1;
        data[148..156].fill(b' ');
        let sum: u32 = data.iter().map(|byte| u32::from(*byte)).sum();
        data[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        data.resize(2 * BLOCK + 512, 0);
        let (entries, content, _) = scan(&data, 100).unwrap();
        assert_eq!((entries[0].size, entries[0].unpacked), (512, (1 << 33) - 1));
        assert_eq!(content.len(), 512);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(data: Vec<u8>, cut in 0..4096_usize, at in 0..4096_usize, byte: u8) {
            let _ = scan(&data, 100);
            let mut sample = sample();
            sample.truncate(cut);
            if let Some(place) = sample.get_mut(at) {
                *place = byte;
            }
            let _ = scan(&sample, 333);
        }
    }
}
