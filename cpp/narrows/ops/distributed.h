// Operations of several processes. All processes of a group record the same ones in the same order.
#pragma once

#include "narrows/ops/common.h"
#include "narrows/runtime/process_group.h"

namespace narrows::distributed {

// What a process gets is of the dtype of `x`. In a group of one, `x` itself. ValueError for a group
// that this process is not in.

// The sum, the largest, the smallest of the elements in all processes. Arrays have the same shape.
// bool: whether any is true, any, all.
array all_sum(const array& x, int group = kAlone, StreamOrDevice s = {});
array all_max(const array& x, int group = kAlone, StreamOrDevice s = {});
array all_min(const array& x, int group = kAlone, StreamOrDevice s = {});

// The arrays of all processes, of one shape, behind each other along the first axis. Of scalars: a
// vector.
array all_gather(const array& x, int group = kAlone, StreamOrDevice s = {});

// This process's part, along the first axis, of the sum. ValueError unless the axis is a multiple
// of the number of processes.
array sum_scatter(const array& x, int group = kAlone, StreamOrDevice s = {});

// Sends `x` to another process, which receives it. Returns `x`, as an array that is computed when
// the other process has it. ValueError unless the rank is that of another process.
array send(const array& x, int to, int group = kAlone, StreamOrDevice s = {});
array recv(const Shape& shape, Dtype dtype, int from, int group = kAlone, StreamOrDevice s = {});

// The number of the group of those processes that name the same color, in the order of their keys;
// where these are negative, in that of their ranks. All processes of the group call it. Evaluates
// the group's operations first. RuntimeError for a group of one.
int split(int group, int color, int key = -1);

} // namespace narrows::distributed
