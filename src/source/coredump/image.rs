//! Lays out a core and writes it, with holes where memory is zero.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use object::Endianness;
use object::elf;
use object::write::elf::{FileHeader, ProgramHeader, Writer};

use super::notes::Notes;
use super::{DumpError, read};
use crate::source::coredump::mappings::Extent;
use crate::source::coredump::mappings::Mapping;

const PAGE: usize = 4096;
/// How much is read at a time.
const CHUNK: usize = 256 * PAGE;

/// What a core is made of.
pub struct Image<'a> {
    pub notes: &'a Notes,
    pub mappings: &'a [Mapping],
    pub filter: u32,
    pub memory: File,
    pub pages: Option<File>,
}

/// A mapping, and where how much of it goes.
struct Segment<'a> {
    mapping: &'a Mapping,
    offset: u64,
    size: u64,
}

impl Image<'_> {
    /// Writes all of it, as long as it is wanted.
    pub fn write(&self, file: &File, wanted: &dyn Fn() -> bool) -> Result<(), DumpError> {
        let sizes: Vec<u64> = self.mappings.iter().map(|mapping| self.size_of(mapping)).collect();
        let (head, segments) = self.head(&sizes)?;
        file.write_all_at(&head, 0).map_err(DumpError::Write)?;
        for segment in &segments {
            self.segment(segment, file, wanted)?;
        }
        let end = segments.last().map_or(head.len() as u64, |last| last.offset + last.size);
        file.set_len(end.max(head.len() as u64)).map_err(DumpError::Write)
    }

    fn size_of(&self, mapping: &Mapping) -> u64 {
        let mut magic = [0; 4];
        match mapping.extent(self.filter) {
            Extent::Nothing => 0,
            Extent::Whole => mapping.size(),
            Extent::Header => {
                let read = self.memory.read_exact_at(&mut magic, mapping.start);
                if read.is_ok() && magic == elf::ELFMAG { PAGE as u64 } else { 0 }
            }
        }
    }

    /// The headers and the notes, and where each mapping goes.
    fn head(&self, sizes: &[u64]) -> Result<(Vec<u8>, Vec<Segment<'_>>), DumpError> {
        let failed = |error: object::write::Error| DumpError::Write(io::Error::other(error));
        let mut head = Vec::new();
        let mut writer = Writer::new(Endianness::Little, !self.notes.bits32, &mut head);
        let count = self.mappings.len() as u32 + 1;
        writer.reserve_file_header();
        writer.reserve_program_headers(count);
        let many = count >= u32::from(elf::PN_XNUM);
        if many {
            // The number does not fit into the file's header, and stands in that of a section.
            writer.reserve_null_section_index();
            writer.reserve_section_headers();
        }
        let notes_at = writer.reserve(self.notes.bytes.len() as u64, 4);
        let mut offset = writer.reserved_len().next_multiple_of(PAGE as u64);
        let mut segments = Vec::with_capacity(self.mappings.len());
        for (mapping, &size) in self.mappings.iter().zip(sizes) {
            segments.push(Segment { mapping, offset, size });
            offset += size;
        }
        let machine = if self.notes.bits32 { elf::EM_386 } else { elf::EM_X86_64 };
        writer
            .write_file_header(&FileHeader {
                os_abi: elf::ELFOSABI_NONE,
                abi_version: 0,
                e_type: elf::ET_CORE,
                e_machine: machine,
                e_entry: 0,
                e_flags: Default::default(),
            })
            .map_err(failed)?;
        writer.write_align_program_headers();
        writer.write_program_header(&ProgramHeader {
            p_type: elf::PT_NOTE,
            p_flags: Default::default(),
            p_offset: notes_at,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: self.notes.bytes.len() as u64,
            p_memsz: 0,
            p_align: 4,
        });
        for segment in &segments {
            writer.write_program_header(&segment.header());
        }
        if many {
            writer.write_null_section_header();
        }
        writer.write_align(4);
        writer.write(&self.notes.bytes);
        Ok((head, segments))
    }

    fn segment(
        &self,
        segment: &Segment<'_>,
        file: &File,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(), DumpError> {
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < segment.size {
            if !wanted() {
                return Err(DumpError::Cancelled);
            }
            let length = (segment.size - done).min(CHUNK as u64) as usize;
            let (from, to) = (segment.mapping.start + done, segment.offset + done);
            let there = !segment.mapping.is_sparse() || self.is_there(from, length);
            if there {
                let chunk = &mut buffer[..length];
                self.read(chunk, from)?;
                write_sparse(file, chunk, to).map_err(DumpError::Write)?;
            }
            done += length as u64;
        }
        Ok(())
    }

    /// Whether any page of a range is in memory or swapped out. What was never touched is not to be made
    /// by reading it.
    fn is_there(&self, from: u64, length: usize) -> bool {
        let Some(pages) = &self.pages else { return true };
        let mut entries = vec![0; length / PAGE * 8];
        if pages.read_exact_at(&mut entries, from / PAGE as u64 * 8).is_err() {
            return true;
        }
        // Bits 62 and 63 of each entry.
        entries.chunks_exact(8).any(|entry| entry[7] & 0xc0 != 0)
    }

    /// Reads a range; what cannot be read, as beyond the end of a mapped file, is zero.
    fn read(&self, chunk: &mut [u8], from: u64) -> Result<(), DumpError> {
        if self.memory.read_exact_at(chunk, from).is_ok() {
            return Ok(());
        }
        for (index, page) in chunk.chunks_mut(PAGE).enumerate() {
            let at = from + (index * PAGE) as u64;
            match self.memory.read_at(page, at) {
                // That is what a process that has ended reads as.
                Ok(0) => return Err(DumpError::Gone),
                Ok(got) => page[got..].fill(0),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                    return Err(read("its memory")(error));
                }
                Err(_) => page.fill(0),
            }
        }
        Ok(())
    }
}

impl Segment<'_> {
    fn header(&self) -> ProgramHeader {
        let mapping = self.mapping;
        let mut flags = elf::ProgramFlags::default();
        for (set, flag) in [
            (mapping.readable, elf::PF_R),
            (mapping.writable, elf::PF_W),
            (mapping.executable, elf::PF_X),
        ] {
            if set {
                flags |= flag;
            }
        }
        ProgramHeader {
            p_type: elf::PT_LOAD,
            p_flags: flags,
            p_offset: self.offset,
            p_vaddr: mapping.start,
            p_paddr: 0,
            p_filesz: self.size,
            p_memsz: mapping.size(),
            p_align: PAGE as u64,
        }
    }
}

/// Writes the runs of pages that are not all zero.
fn write_sparse(file: &File, chunk: &[u8], to: u64) -> io::Result<()> {
    let is_zero = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let mut run: Option<usize> = None;
    let count = chunk.len().div_ceil(PAGE);
    for index in 0..=count {
        let page = chunk.get(index * PAGE..).map(|rest| &rest[..rest.len().min(PAGE)]);
        let holds = page.is_some_and(|page| !page.is_empty() && !is_zero(page));
        match (run, holds) {
            (None, true) => run = Some(index),
            (Some(first), false) => {
                let end = (index * PAGE).min(chunk.len());
                file.write_all_at(&chunk[first * PAGE..end], to + (first * PAGE) as u64)?;
                run = None;
            }
            _ => {}
        }
    }
    Ok(())
}
