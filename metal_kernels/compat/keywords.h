// MSL's keywords and attributes as macros. A compatibility header includes this last and no system
// header may follow: device, thread and constant are common words.
#pragma once

#define device
#define thread
#define threadgroup
#define constant const
#define kernel METAL_EMU_KERNEL

#define METAL_EMU_POSITION(n) ]], ::metal_emu::PositionTag<::metal_emu::Position(n)> [[
#define thread_position_in_grid METAL_EMU_POSITION(0)
#define thread_position_in_threadgroup METAL_EMU_POSITION(1)
#define thread_index_in_threadgroup METAL_EMU_POSITION(2)
#define threadgroup_position_in_grid METAL_EMU_POSITION(3)
#define threads_per_grid METAL_EMU_POSITION(4)
#define threads_per_threadgroup METAL_EMU_POSITION(5)
#define threadgroups_per_grid METAL_EMU_POSITION(6)
#define thread_index_in_simdgroup METAL_EMU_POSITION(7)
#define simdgroup_index_in_threadgroup METAL_EMU_POSITION(8)
#define simdgroups_per_threadgroup METAL_EMU_POSITION(9)
#define threads_per_simdgroup METAL_EMU_POSITION(10)
#define buffer(n) ]], ::metal_emu::BufferTag<(n)> [[
