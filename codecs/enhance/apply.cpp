#include "enhance/apply.hpp"

namespace sciflow::enhance {

namespace {

// A model as the kernel reads it: by class, not by filter.
struct Tables {
    std::vector<int32_t> weights, bias;
    explicit Tables(const Model& m) : weights(static_cast<size_t>(MAX_PAIRS * MAX_CLASSES)), bias(MAX_CLASSES) {
        for (size_t c = 0; c < m.classes(); ++c) {
            const size_t k = m.filter_of[c];
            for (int p = 0; p < m.pairs(); ++p) {
                const uint32_t linear = static_cast<uint16_t>(m.weight(k, p));
                const uint32_t clipped = static_cast<uint16_t>(m.weight(k, m.pairs() + p));
                weights[static_cast<size_t>(p) * MAX_CLASSES + c] = static_cast<int32_t>(clipped << 16 | linear);
            }
            bias[c] = m.weight(k, 2 * m.pairs()) * BIAS + (m.shift > 0 ? 1 << (m.shift - 1) : 0);
        }
    }
};

}  // namespace

template <class T>
std::vector<int16_t> corrections(const Model& model, const Volume& volume, const Field<T>& decoded) {
    std::vector<int16_t> h(volume.size());
    const Tables tables(model);
    Tile tile(volume);
    std::vector<int32_t> classes(volume.nx), scratch(volume.nx);
    FilterRow job;
    job.pairs = model.pairs();
    for (int p = 0; p < job.pairs; ++p) job.step[p] = tile.step(p);
    job.weights = tables.weights.data();
    job.bias = tables.bias.data();
    job.shift = model.shift;
    job.n = volume.nx;
    job.classes = classes.data();
    for (const Part& part : cut(volume, default_planes(volume))) {
        tile.load(decoded, Scale{model.unit, model.origin}, part);
        if (!model.activity.empty()) tile.measure();
        for (size_t z = 0; z < part.count; ++z)
            for (size_t y = 0; y < volume.ny; ++y) {
                tile.classes(model, z, y, scratch.data(), classes.data());
                job.t = tile.row(z, y);
                job.out = h.data() + part.slab * volume.slab() + (part.first + z) * volume.plane() + y * volume.nx;
                kernels().enhance.filter(job);
                if (const uint8_t* hole = tile.holes(z, y))
                    for (size_t x = 0; x < volume.nx; ++x)
                        if (hole[x]) job.out[x] = 0;
            }
    }
    return h;
}

template <class T>
void correct(const T* decoded, const std::vector<int16_t>& h, int32_t limit, double unit, T* out) {
    fixed_point<T>(kernels()).correct(decoded, h.data(), h.size(), limit, unit, out);
    // A sum with zero clears the sign of a zero and the quiet bit of a NaN: those cells keep their bits.
    for (size_t i = 0; i < h.size(); ++i)
        if (h[i] == 0) out[i] = decoded[i];
}

template std::vector<int16_t> corrections<float>(const Model&, const Volume&, const Field<float>&);
template std::vector<int16_t> corrections<double>(const Model&, const Volume&, const Field<double>&);
template void correct<float>(const float*, const std::vector<int16_t>&, int32_t, double, float*);
template void correct<double>(const double*, const std::vector<int16_t>&, int32_t, double, double*);

}  // namespace sciflow::enhance
