//! What is known of a program file: which bytes are mapped where, and where its fields with addresses are.
//!
//! Sources: System V ABI (ELF-64 object file format), Microsoft PE format. Whatever does not look right is left out:
//! a delta without it is larger, never wrong.

use crate::addresses::{Kind, Program, Region, Span};

/// A program file inside the bytes of a delta.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Image {
    /// Offset of the file among the bytes.
    pub offset: u64,
    /// Its length.
    pub length: u64,
    spans: Vec<Span>,
    blank: Option<Span>,
    regions: Vec<Region>,
}

impl Image {
    /// Whether a file that begins with these four bytes may be a program.
    pub(crate) fn may_be(begin: &[u8; 4]) -> bool {
        begin == b"\x7fELF" || begin.starts_with(b"MZ")
    }

    /// Reads the headers of a program at `offset`; nothing if this is none.
    pub(crate) fn read(bytes: &[u8], offset: u64) -> Option<Image> {
        let mut image = if bytes.starts_with(b"\x7fELF\x02\x01") {
            elf(bytes)?
        } else if bytes.starts_with(b"MZ") {
            pe(bytes)?
        } else {
            return None;
        };
        image.offset = offset;
        image.length = bytes.len() as u64;
        image.spans.iter_mut().for_each(|span| span.offset += offset);
        image.regions.retain(|region| {
            region.length > 0
                && region
                    .offset
                    .checked_add(region.length)
                    .is_some_and(|end| end <= image.length)
        });
        image.regions.sort_by_key(|region| region.offset);
        let mut end = 0;
        image.regions.retain(|region| {
            let apart = region.offset >= end;
            end = end.max(region.offset + region.length);
            apart
        });
        image
            .regions
            .iter_mut()
            .for_each(|region| region.offset += offset);
        Some(image)
    }

    /// Its fields.
    pub(crate) fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// This program, and the one that it became.
    pub(crate) fn became(&self, new: &Image) -> Program {
        Program {
            old: self.spans.clone(),
            new: new.spans.clone(),
            blank: self.blank.zip(new.blank.map(|blank| blank.address)),
            regions: self.regions.clone(),
        }
    }
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Section types and flags of ELF.
mod section {
    pub(super) const SYMTAB: u64 = 2;
    pub(super) const RELA: u64 = 4;
    pub(super) const NOBITS: u64 = 8;
    pub(super) const DYNSYM: u64 = 11;
    pub(super) const INIT_ARRAY: u64 = 14;
    pub(super) const FINI_ARRAY: u64 = 15;
    pub(super) const EXECUTABLE: u64 = 4;
    /// Most sections that are looked at.
    pub(super) const MAX: u64 = 4096;
}

fn elf(bytes: &[u8]) -> Option<Image> {
    const X86_64: u64 = 62;
    const RELOCATABLE: u64 = 1;
    const LOAD: u64 = 1;
    let (kind, machine) = (u16_at(bytes, 16)?, u16_at(bytes, 18)?);
    if machine != X86_64 || kind == RELOCATABLE {
        return None;
    }
    let mut image = Image::default();
    let (segments, count) = (u64_at(bytes, 32)?, u16_at(bytes, 56)?);
    for number in 0..count.min(64) {
        let at = segments.checked_add(number * 56)?;
        if u32_at(bytes, at)? != LOAD {
            continue;
        }
        let (offset, address) = (u64_at(bytes, at + 8)?, u64_at(bytes, at + 16)?);
        let (length, memory) = (u64_at(bytes, at + 32)?, u64_at(bytes, at + 40)?);
        if offset.checked_add(length)? > bytes.len() as u64 || memory > u64::from(u32::MAX) {
            return None;
        }
        image.spans.push(Span {
            offset,
            length,
            address,
        });
        if memory > length {
            image.blank = Some(Span {
                offset: 0,
                length: memory - length,
                address: address.checked_add(length)?,
            });
        }
    }
    let (sections, count, names) = (u64_at(bytes, 40)?, u16_at(bytes, 60)?, u16_at(bytes, 62)?);
    let names = u64_at(bytes, sections.checked_add(names * 64)?.checked_add(24)?)?;
    for number in 0..count.min(section::MAX) {
        let at = sections.checked_add(number * 64)?;
        let (name, kind, flags) = (u32_at(bytes, at)?, u32_at(bytes, at + 4)?, u64_at(bytes, at + 8)?);
        let (offset, length) = (u64_at(bytes, at + 24)?, u64_at(bytes, at + 32)?);
        let name = bytes.get(usize::try_from(names.checked_add(name)?).ok()?..)?;
        let fields = match kind {
            section::NOBITS => None,
            section::SYMTAB | section::DYNSYM => Some(Kind::Symbols),
            section::RELA => Some(Kind::Relocations),
            section::INIT_ARRAY | section::FINI_ARRAY => Some(Kind::Pointers),
            _ if flags & section::EXECUTABLE != 0 => Some(Kind::CodeX64),
            _ if name.starts_with(b".eh_frame\0") => Some(Kind::Frames),
            _ if name.starts_with(b".eh_frame_hdr\0") => Some(Kind::FromBegin),
            _ if name.starts_with(b".data.rel.ro\0") || name.starts_with(b".got") => Some(Kind::Pointers),
            _ => None,
        };
        image
            .regions
            .extend(fields.map(|kind| Region { offset, length, kind }));
    }
    Some(image)
}

fn pe(bytes: &[u8]) -> Option<Image> {
    const X86_64: u64 = 0x8664;
    const EXECUTABLE: u64 = 0x2000_0000;
    let at = u32_at(bytes, 0x3c)?;
    let begin = usize::try_from(at).ok()?;
    if !bytes.get(begin..)?.starts_with(b"PE\0\0") || u16_at(bytes, at + 4)? != X86_64 {
        return None;
    }
    let mut image = Image::default();
    let (count, optional) = (u16_at(bytes, at + 6)?, u16_at(bytes, at + 20)?);
    for number in 0..count.min(96) {
        let header = at + 24 + optional + number * 40;
        let (memory, address) = (u32_at(bytes, header + 8)?, u32_at(bytes, header + 12)?);
        let (length, offset) = (u32_at(bytes, header + 16)?, u32_at(bytes, header + 20)?);
        let flags = u32_at(bytes, header + 36)?;
        if offset + length > bytes.len() as u64 {
            return None;
        }
        image.spans.push(Span {
            offset,
            length,
            address,
        });
        if memory > length {
            image.blank = Some(Span {
                offset: 0,
                length: memory - length,
                address: address + length,
            });
        }
        let name = bytes.get(usize::try_from(header).ok()?..)?;
        let kind = if flags & EXECUTABLE != 0 {
            Some(Kind::CodeX64)
        } else if name.starts_with(b".pdata\0") {
            Some(Kind::Addresses32)
        } else {
            None
        };
        image
            .regions
            .extend(kind.map(|kind| Region { offset, length, kind }));
    }
    Some(image)
}
