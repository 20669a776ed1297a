// Memory that is written before it is read: growing it clears nothing, so that what is never used costs no page.
#pragma once

#include <memory>
#include <vector>

namespace sciflow {

template <class T>
struct Unset : std::allocator<T> {
    template <class U>
    struct rebind {
        using other = Unset<U>;
    };
    template <class U, class... Args>
    void construct(U* at, Args&&... args) {
        if constexpr (sizeof...(Args) == 0) ::new (static_cast<void*>(at)) U;
        else ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
    }
};

template <class T>
using Scratch = std::vector<T, Unset<T>>;

template <class... V>
size_t bytes_held(const V&... vectors) {
    return (size_t{0} + ... + (vectors.capacity() * sizeof(typename V::value_type)));
}

}  // namespace sciflow
