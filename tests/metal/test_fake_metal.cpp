// The fake Metal reports what the tests of the backend rely on.
#include <gtest/gtest.h>

#include <functional>

#include "fake_metal_cpp/Metal/Metal.hpp"
#include "fake_metal_cpp/fake_metal.h"
#include "metal_kernels/elementwise.h"
#include "metal_kernels/fill.h"
#include "narrows/backend/metal/metal_cpp.h"

namespace narrows::metal {
namespace {

constexpr uint32_t kFloats = 512;
constexpr uint32_t kThreads = 256;

struct Gpu {
  NS::SharedPtr<MTL::Device> device = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
  NS::SharedPtr<MTL::CommandQueue> queue = NS::TransferPtr(device->newCommandQueue());
  NS::SharedPtr<MTL::Fence> fence = NS::TransferPtr(device->newFence());
  NS::SharedPtr<MTL::ComputePipelineState> copy;

  Gpu() {
    AutoreleaseScope scope;
    NS::Error* error = nullptr;
    const auto library = NS::TransferPtr(
        device->newLibrary(NS::URL::fileURLWithPath(to_ns("kernels.metallib")), &error));
    const auto function =
        NS::TransferPtr(library->newFunction(to_ns("cast_uint32_uint32_contiguous")));
    copy = NS::TransferPtr(device->newComputePipelineState(function.get(), &error));
  }
  NS::SharedPtr<MTL::Buffer> buffer() {
    return NS::TransferPtr(device->newBuffer(
        kFloats * 4, MTL::ResourceStorageModeShared | MTL::ResourceHazardTrackingModeUntracked));
  }
  MTL::ComputeCommandEncoder* encoder(MTL::CommandBuffer* commands) {
    return commands->computeCommandEncoder(MTL::DispatchTypeConcurrent);
  }
  void dispatch(
      MTL::ComputeCommandEncoder* encoder,
      const NS::SharedPtr<MTL::Buffer>& from,
      const NS::SharedPtr<MTL::Buffer>& to) {
    ElementwiseParams params{};
    params.size = params.shape[0] = kFloats;
    params.ndim = params.inputs = 1;
    params.strides[0][0] = params.strides[1][0] = 1;
    encoder->setComputePipelineState(copy.get());
    encoder->setBuffer(from.get(), 0, 0);
    encoder->setBuffer(to.get(), 0, 1);
    encoder->setBytes(&params, sizeof(params), 2);
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(kThreads, 1, 1));
  }
};

void finish(MTL::CommandBuffer* commands) {
  commands->commit();
  while (commands->status() < MTL::CommandBufferStatusCompleted) {
  }
}

struct Mistake {
  const char* name;
  const char* message;
  std::function<void(Gpu&)> make;
};

const Mistake kMistakes[] = {
    {"after the end",
     "after its end",
     [](Gpu& gpu) {
       auto* encoder = gpu.encoder(gpu.queue->commandBuffer());
       encoder->endEncoding();
       encoder->memoryBarrier(MTL::BarrierScopeBuffers);
     }},
    {"commit of an open encoder",
     "not ended",
     [](Gpu& gpu) {
       auto* commands = gpu.queue->commandBuffer();
       gpu.encoder(commands);
       commands->commit();
     }},
    {"never ended", "before its end", [](Gpu& gpu) { gpu.encoder(gpu.queue->commandBuffer()); }},
    {"late handler",
     "committed command buffer",
     [](Gpu& gpu) {
       auto* commands = gpu.queue->commandBuffer();
       finish(commands);
       commands->addCompletedHandler([](MTL::CommandBuffer*) {});
     }},
    {"late encoder",
     "committed command buffer",
     [](Gpu& gpu) {
       auto* commands = gpu.queue->commandBuffer();
       finish(commands);
       gpu.encoder(commands);
     }},
    {"no pipeline",
     "no pipeline",
     [](Gpu& gpu) {
       auto* encoder = gpu.encoder(gpu.queue->commandBuffer());
       encoder->endEncoding();
       auto* other = gpu.encoder(gpu.queue->commandBuffer());
       struct End {
         MTL::ComputeCommandEncoder* encoder;
         ~End() {
           encoder->endEncoding();
         }
       } end{other};
       other->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(32, 1, 1));
     }},
    {"unbound buffer",
     "is not bound",
     [](Gpu& gpu) {
       auto* encoder = gpu.encoder(gpu.queue->commandBuffer());
       encoder->setComputePipelineState(gpu.copy.get());
       encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(32, 1, 1));
     }},
    {"offset behind the buffer",
     "setBuffer with offset 2048",
     [](Gpu& gpu) {
       auto* encoder = gpu.encoder(gpu.queue->commandBuffer());
       encoder->setBuffer(gpu.buffer().get(), kFloats * 4, 0);
     }},
    {"missing barrier",
     "no barrier",
     [](Gpu& gpu) {
       const auto a = gpu.buffer(), b = gpu.buffer(), c = gpu.buffer();
       auto* encoder = gpu.encoder(gpu.queue->commandBuffer());
       gpu.dispatch(encoder, a, b);
       gpu.dispatch(encoder, b, c);
     }},
    {"missing fence",
     "no fence",
     [](Gpu& gpu) {
       const auto a = gpu.buffer(), b = gpu.buffer(), c = gpu.buffer();
       auto* first = gpu.queue->commandBuffer();
       auto* encoder = gpu.encoder(first);
       gpu.dispatch(encoder, a, b);
       encoder->endEncoding();
       finish(first);
       gpu.dispatch(gpu.encoder(gpu.queue->commandBuffer()), b, c);
     }},
    {"released buffer",
     "had been released",
     [](Gpu& gpu) {
       const auto a = gpu.buffer();
       auto b = gpu.buffer();
       auto* commands = gpu.queue->commandBufferWithUnretainedReferences();
       auto* encoder = gpu.encoder(commands);
       gpu.dispatch(encoder, a, b);
       encoder->endEncoding();
       b.reset();
       finish(commands);
     }},
};

TEST(FakeMetal, notices_mistakes) {
  for (const Mistake& mistake : kMistakes) {
    Gpu gpu;
    fake_metal::take_mistakes();
    {
      AutoreleaseScope scope;
      try {
        mistake.make(gpu);
      } catch (const std::logic_error&) {
      }
    }
    const std::vector<std::string> noted = fake_metal::take_mistakes();
    ASSERT_FALSE(noted.empty()) << mistake.name;
    EXPECT_NE(noted[0].find(mistake.message), std::string::npos) << noted[0];
  }
}

TEST(FakeMetal, notices_an_object_without_a_pool) {
  fake_metal::take_mistakes();
  NS::String* text = NS::String::string("text", NS::UTF8StringEncoding);
  EXPECT_EQ(fake_metal::take_mistakes().size(), 1u);
  text->release();
}

TEST(FakeMetal, runs_what_is_right) {
  const int64_t objects = fake_metal::live_objects();
  const int64_t buffers = fake_metal::live_buffers();
  {
    Gpu gpu;
    AutoreleaseScope scope;
    const auto a = gpu.buffer(), c = gpu.buffer();
    auto b = gpu.buffer();
    static_cast<float*>(a->contents())[kFloats - 1] = 5;
    auto* first = gpu.queue->commandBuffer(); // retains
    auto* encoder = gpu.encoder(first);
    gpu.dispatch(encoder, a, b);
    encoder->updateFence(gpu.fence.get());
    encoder->endEncoding();
    first->commit();
    auto* second = gpu.queue->commandBuffer();
    encoder = gpu.encoder(second);
    encoder->waitForFence(gpu.fence.get());
    gpu.dispatch(encoder, b, c);
    encoder->endEncoding();
    b.reset();
    finish(second);
    EXPECT_EQ(static_cast<float*>(c->contents())[kFloats - 1], 5);
  }
  EXPECT_EQ(fake_metal::take_mistakes(), std::vector<std::string>());
  EXPECT_EQ(fake_metal::live_objects(), objects);
  EXPECT_EQ(fake_metal::live_buffers(), buffers);
}

} // namespace
} // namespace narrows::metal
