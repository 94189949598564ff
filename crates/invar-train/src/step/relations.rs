//! How the rows of a batch relate to each other and to those of other processes: ids travel from host to host. *Own*
//! rows and chunks are those of this process.

use invar_dataset::{GroupId, Related, SampleId};
use invar_nn::{Relations, SampleIds, Views};
use invar_torch::ProcessGroup;
use tch::{Kind, Tensor};

use crate::Error;

/// The relations of the own chunks of a batch to those of all processes, in rank order.
///
/// # Errors
/// If a peer died.
pub(super) fn relations(chunks: &[Views], group: &ProcessGroup) -> Result<Relations, Error> {
    let own = SampleIds::concat(chunks.iter().map(|chunk| &chunk.samples));
    let (num_rows, rank) = (own.num_pairs(), group.rank());
    let samples = if group.size() == 1 { own } else { gathered(&own, group)? };
    Ok(Relations::new(samples, rank * num_rows..(rank + 1) * num_rows))
}

/// The samples of all processes' views, the groups of their pairs, and the pairs' statements about other samples.
fn gathered(own: &SampleIds, group: &ProcessGroup) -> Result<SampleIds, Error> {
    let pairs = 0..own.num_pairs();
    let said = |pair: usize| own.related().get(pair).map_or(&[][..], Vec::as_slice);
    // The bits of an id travel as a signed number.
    let ids = own.iter().map(|id| id.0 as i64);
    // Whether a pair has a group, and which; and how many samples it names. Sent even if no pair here has or names any,
    // because those of another process may.
    let has_group = pairs.clone().map(|pair| i64::from(own.group(pair).is_some()));
    let groups = pairs.clone().map(|pair| own.group(pair).map_or(0, |group| group.0 as i64));
    let num_said = pairs.clone().map(|pair| said(pair).len() as i64);
    let lists: Vec<i64> = ids.chain(has_group).chain(groups).chain(num_said).collect();
    let num_lists = own.num_views() + 3;
    let all = group.all_gather(&Tensor::from_slice(&lists).view([1, num_lists as i64, own.num_pairs() as i64]))?;
    let all = Vec::<i64>::try_from(all.transpose(0, 1).contiguous().view([-1]))?; // [V + 3, processes, b]
    let num_pairs = all.len() / num_lists;
    let mut lists = all.chunks_exact(num_pairs);
    let ids = lists.by_ref().take(own.num_views()).flatten().map(|&bits| SampleId(bits as u64)).collect();
    let [has_group, groups, num_said] = [(); 3].map(|()| lists.next().unwrap_or_default());
    let groups = has_group.iter().zip(groups).map(|(&has, &bits)| (has == 1).then_some(GroupId(bits as u64)));
    let samples = SampleIds::new(own.num_views(), ids).with_groups(groups.collect());
    // What the pairs name, padded to the process that names the most.
    let most = num_said.chunks(own.num_pairs().max(1)).map(|of_process| of_process.iter().sum::<i64>()).max();
    let most = most.unwrap_or(0);
    if most == 0 {
        return Ok(samples);
    }
    let own_said = pairs.flat_map(said).flat_map(|said| [said.sample.0 as i64, i64::from(said.weight.to_bits())]);
    let own_said = Tensor::from_slice(&own_said.collect::<Vec<_>>()).view([1, -1, 2]);
    let padding = Tensor::zeros([1, most - own_said.size()[1], 2], (Kind::Int64, own_said.device()));
    let all = group.all_gather(&Tensor::f_cat(&[own_said, padding], 1)?)?; // [processes, most, 2]
    let all = Vec::<i64>::try_from(all.contiguous().view([-1]))?;
    let read = |said: &[i64]| Related { sample: SampleId(said[0] as u64), weight: f32::from_bits(said[1] as u32) };
    let mut related = vec![];
    for (num_said, of_process) in num_said.chunks(own.num_pairs()).zip(all.chunks(2 * most as usize)) {
        let mut said = of_process.chunks_exact(2).map(read);
        related.extend(num_said.iter().map(|&number| said.by_ref().take(number as usize).collect::<Vec<_>>()));
    }
    Ok(samples.with_related(related))
}
