#include "narrows/runtime/shared_library.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace narrows {
namespace {

#ifdef __APPLE__
constexpr const char* kMath = "libSystem.dylib";
#else
constexpr const char* kMath = "libm.so.6";
#endif
constexpr const char* kVariable = "NARROWS_TEST_LIBRARY";

class SharedLibraryTest : public ::testing::Test {
 protected:
  void TearDown() override {
    unsetenv(kVariable);
  }
};

TEST_F(SharedLibraryTest, has_the_functions_of_a_file) {
  const SharedLibrary library = SharedLibrary::open(kMath);
  ASSERT_TRUE(library);
  EXPECT_EQ(library.path(), kMath);
  double (*function)(double) = nullptr;
  ASSERT_TRUE(library.find(function, "floor"));
  EXPECT_EQ(function(2.5), 2);
  EXPECT_FALSE(library.find(function, "no_such_function"));
  EXPECT_EQ(function, nullptr);
}

TEST_F(SharedLibraryTest, none_has_no_functions) {
  EXPECT_FALSE(SharedLibrary());
  EXPECT_FALSE(SharedLibrary::open("/no/library.so"));
  EXPECT_FALSE(SharedLibrary::loaded("libno.so"));
  EXPECT_EQ(SharedLibrary().symbol("floor"), nullptr);
}

TEST_F(SharedLibraryTest, is_the_first_file_that_there_is) {
  EXPECT_EQ(find_library({kVariable, {}, {"/no/library.so", kMath}}).path(), kMath);
  EXPECT_FALSE(find_library({kVariable, {}, {"/no/library.so"}}));
  EXPECT_FALSE(find_library({kVariable, {"libno.so"}, {}}));
}

TEST_F(SharedLibraryTest, is_the_loaded_one_before_files) {
  SharedLibrary::open(kMath);
  EXPECT_EQ(find_library({kVariable, {"libno.so", kMath}, {"/no/library.so"}}).path(), kMath);
}

TEST_F(SharedLibraryTest, is_the_one_that_is_named) {
  SharedLibrary::open(kMath);
  setenv(kVariable, "/no/library.so", 1);
  EXPECT_FALSE(find_library({kVariable, {kMath}, {kMath}})); // and no other
  EXPECT_TRUE(find_library({kVariable, {kMath}, {}, true}));
  setenv(kVariable, "", 1);
  EXPECT_TRUE(find_library({kVariable, {kMath}, {}}));
}

TEST_F(SharedLibraryTest, knows_where_it_lies) {
  const SharedLibrary library = SharedLibrary::open(kMath);
  EXPECT_NE(file_of(library.symbol("floor")).find("lib"), std::string::npos);
  const std::string directory = directory_of(reinterpret_cast<const void*>(&find_library));
  EXPECT_EQ(directory.back(), '/');
  EXPECT_EQ(file_of(reinterpret_cast<const void*>(&find_library)).rfind(directory, 0), 0u);
  EXPECT_EQ(file_of(&directory), ""); // on the stack
  EXPECT_EQ(directory_of(nullptr), "");
}

} // namespace
} // namespace narrows
