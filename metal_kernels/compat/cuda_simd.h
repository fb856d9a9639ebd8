// Barriers and simdgroup functions of the CUDA views.
#pragma once

namespace metal {

METAL_EMU_DEVICE void threadgroup_barrier(mem_flags) {
  __syncthreads();
}
METAL_EMU_DEVICE void simdgroup_barrier(mem_flags) {
  __syncwarp();
}
METAL_EMU_DEVICE uint atomic_exchange_explicit(atomic_uint* object, uint desired, memory_order) {
  return atomicExch(&object->value, desired);
}

namespace emu {

constexpr unsigned kAllLanes = 0xffffffffu;

METAL_EMU_DEVICE unsigned lane() {
  return threadIdx.x % 32;
}

// Applies a shuffle of 32-bit words to a value of up to 8 bytes.
template <typename T, typename Shuffle>
METAL_EMU_DEVICE T shuffle_words(T value, Shuffle shuffle) {
  constexpr int kWords = (sizeof(T) + 3) / 4;
  unsigned words[kWords] = {};
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    words[i] = shuffle(words[i]);
  }
  T result;
  memcpy(&result, words, sizeof(T));
  return result;
}
struct ShuffleXor {
  unsigned mask;
  METAL_EMU_DEVICE unsigned operator()(unsigned word) const {
    return __shfl_xor_sync(kAllLanes, word, mask);
  }
};
struct ShuffleUp {
  unsigned distance;
  METAL_EMU_DEVICE unsigned operator()(unsigned word) const {
    return __shfl_up_sync(kAllLanes, word, distance);
  }
};
struct ShuffleFrom {
  unsigned lane;
  METAL_EMU_DEVICE unsigned operator()(unsigned word) const {
    return __shfl_sync(kAllLanes, word, lane);
  }
};

} // namespace emu

template <typename T>
METAL_EMU_DEVICE T simd_shuffle(T value, ushort lane) {
  return emu::shuffle_words(value, emu::ShuffleFrom{lane});
}
template <typename T>
METAL_EMU_DEVICE T simd_shuffle_xor(T value, ushort mask) {
  return emu::shuffle_words(value, emu::ShuffleXor{mask});
}
template <typename T>
METAL_EMU_DEVICE T simd_shuffle_up(T value, ushort distance) {
  return emu::shuffle_words(value, emu::ShuffleUp{distance});
}

} // namespace metal
