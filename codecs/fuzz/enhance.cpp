// Arbitrary enhancements of small arrays: one byte of choices, a length and a model that is kept elsewhere, the body.
#include "enhance/enhance.hpp"

#include "decoding.hpp"

using namespace sciflow;
using namespace sciflow::enhance;

namespace {

using Shape = std::vector<uint64_t>;

const Shape SHAPES[] = {{500}, {33, 20}, {7, 9, 11}, {2, 3, 8, 9}, {1, 1}, {0, 4}, {}, {3, 1, 40}};

size_t cells(const Shape& shape) {
    size_t n = 1;
    for (uint64_t length : shape) n *= static_cast<size_t>(length);
    return n;
}

// Ridges rounded to a half, with what no filter may touch.
template <class T>
std::vector<T> decoded_field(const Shape& shape) {
    std::vector<T> field(cells(shape));
    for (size_t i = 0; i < field.size(); ++i) field[i] = static_cast<T>((i * i / 7 + 3 * (i / 11)) % 23) / 2;
    if (field.size() > 100) field[40] = T(NAN), field[60] = -T(0), field[61] = T(INFINITY), field[90] = T(1e30);
    return field;
}

struct Input {
    uint8_t choices = 0;
    View shared, body;

    explicit Input(View data) {
        Cursor in(data);
        uint8_t size = 0;
        if (!in.u8(choices) || !in.u8(size)) return;
        in.bytes(std::min<size_t>(size, in.left()), shared);
        in.bytes(in.left(), body);
    }
    const Shape& shape() const { return SHAPES[choices & 7]; }
    bool wide() const { return (choices & 8) != 0; }
    size_t others() const { return choices >> 4 & 3; }
};

template <class T>
void decode_twice(const Input& in) {
    const std::vector<T> decoded = decoded_field<T>(in.shape());
    const std::vector<double> other = decoded_field<double>(in.shape());
    const std::vector<AuxArray> aux(in.others(), {other.data(), true});
    std::vector<T> out(decoded.size()), again(decoded.size(), T(1));
    const Beside beside{in.shared, aux};
    const Status s = enhance::decode(in.body, beside, decoded.data(), in.shape(), out.data());
    if (s != enhance::decode(in.body, beside, decoded.data(), in.shape(), again.data())) fuzz::fail("other status");
    if (s == Status::ok && !out.empty() && std::memcmp(out.data(), again.data(), out.size() * sizeof(T)) != 0)
        fuzz::fail("other values");
}

// What an encoder makes of a field that is a little off, by itself or with a model that is kept elsewhere.
template <class T>
Bytes encoded(uint8_t choices, bool is_shared) {
    const Shape& shape = SHAPES[choices & 7];
    const std::vector<T> decoded = decoded_field<T>(shape);
    const std::vector<double> other = decoded_field<double>(shape);
    const std::vector<AuxArray> aux(choices >> 4 & 3, {other.data(), true});
    std::vector<T> original = decoded, out(decoded.size());
    for (size_t i = 1; i + 1 < original.size(); ++i)
        if (std::isfinite(decoded[i - 1]) && std::isfinite(decoded[i + 1]))
            original[i] += (decoded[i - 1] + decoded[i + 1] - 2 * decoded[i]) / 8;
    Request r;
    r.fit.worth = 1e5;
    r.bound = choices & 1 ? 0.25 : 0;
    r.aux = aux;
    const Pair<T> pair{original.data(), decoded.data(), shape};
    const Bytes model = is_shared ? fit_shared<T>({&pair, 1}, {}, r.fit) : Bytes();
    if (!model.empty()) r.shared = model, r.own = false;
    Outcome outcome;
    enhance::encode(original.data(), decoded.data(), shape, r, out.data(), outcome);
    Bytes bytes = {choices, static_cast<uint8_t>(std::min<size_t>(model.size(), 255))};
    bytes.insert(bytes.end(), model.begin(), model.begin() + bytes[1]);
    bytes.insert(bytes.end(), outcome.body.begin(), outcome.body.end());
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    fuzz::plant_seeds(*argc, *argv, [](uint64_t k) {
        const uint8_t choices = static_cast<uint8_t>(k % 64);
        return choices & 8 ? encoded<double>(choices, k > 64) : encoded<float>(choices, k > 64);
    });
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const Input in(View(data, size));
    if (in.wide()) decode_twice<double>(in);
    else decode_twice<float>(in);
    return 0;
}
