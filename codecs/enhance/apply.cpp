#include "enhance/apply.hpp"

namespace sciflow::enhance {

namespace {

// A model as the kernel reads it: by class, not by filter.
struct Tables {
    std::vector<int32_t> weights, bias;
    explicit Tables(const Model& m)
        : weights(static_cast<size_t>(m.pairs() * m.sources() * MAX_CLASSES)), bias(MAX_CLASSES) {
        for (size_t c = 0; c < m.classes(); ++c) {
            const size_t k = m.filter_of[c];
            for (int p = 0; p < m.pairs() * m.sources(); ++p) {
                const int first = p / m.pairs() * 2 * m.pairs() + p % m.pairs();
                const uint32_t linear = static_cast<uint16_t>(m.weight(k, first));
                const uint32_t clipped = static_cast<uint16_t>(m.weight(k, first + m.pairs()));
                weights[static_cast<size_t>(p) * MAX_CLASSES + c] = static_cast<int32_t>(clipped << 16 | linear);
            }
            bias[c] = m.weight(k, m.features() - 1) * BIAS + (m.shift > 0 ? 1 << (m.shift - 1) : 0);
        }
    }
};

}  // namespace

template <class T>
std::vector<int16_t> corrections(const Model& model, const Volume& volume, const Field<T>& decoded,
                                 std::span<const AuxArray> aux) {
    std::vector<int16_t> h(volume.size());
    const Tables tables(model);
    std::vector<Tile> tiles(1 + model.aux.size(), Tile(volume));
    Tile& tile = tiles[0];
    std::vector<int32_t> classes(volume.nx), scratch(volume.nx);
    FilterRow job;
    job.sources = model.sources();
    job.pairs = model.pairs();
    for (int p = 0; p < job.pairs; ++p) job.step[p] = tile.step(p);
    job.weights = tables.weights.data();
    job.bias = tables.bias.data();
    job.shift = model.shift;
    job.n = volume.nx;
    job.classes = classes.data();
    for (const Part& part : cut(volume, default_planes(volume))) {
        tile.load(decoded, Scale{model.unit, model.origin}, part);
        for (size_t a = 0; a < model.aux.size(); ++a) tiles[1 + a].load(aux[a], model.aux[a], part);
        if (!model.activity.empty()) tile.measure();
        for (size_t z = 0; z < part.count; ++z)
            for (size_t y = 0; y < volume.ny; ++y) {
                tile.classes(model, z, y, scratch.data(), classes.data());
                for (size_t s = 0; s < tiles.size(); ++s) job.t[s] = tiles[s].row(z, y);
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

template std::vector<int16_t> corrections<float>(const Model&, const Volume&, const Field<float>&,
                                                 std::span<const AuxArray>);
template std::vector<int16_t> corrections<double>(const Model&, const Volume&, const Field<double>&,
                                                  std::span<const AuxArray>);
template void correct<float>(const float*, const std::vector<int16_t>&, int32_t, double, float*);
template void correct<double>(const double*, const std::vector<int16_t>&, int32_t, double, double*);

}  // namespace sciflow::enhance
