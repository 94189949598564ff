use invar_dataset::{GroupId, SampleId};
use invar_nn::SampleIds;
use invar_torch::ProcessGroup;
use tch::Tensor;

use crate::Error;

/// The samples and groups of the views of all processes, in the order of their ranks.
pub(super) fn gathered(own: SampleIds, group: &ProcessGroup) -> Result<SampleIds, Error> {
    if group.size() == 1 {
        return Ok(own);
    }
    // The bits of an id travel as a signed number.
    let bits: Vec<i64> = own.iter().map(|id| id.0 as i64).collect();
    // Whether a pair has a group, and which: also where no pair has one, because those of another process may.
    let has_group = (0..own.num_pairs()).map(|pair| i64::from(own.group(pair).is_some()));
    let groups = (0..own.num_pairs()).map(|pair| own.group(pair).map_or(0, |group| group.0 as i64));
    let bits: Vec<i64> = bits.into_iter().chain(has_group).chain(groups).collect();
    let num_lists = own.num_views() + 2;
    let bits = Tensor::from_slice(&bits).view([1, num_lists as i64, own.num_pairs() as i64]);
    let all = group.all_gather(&bits)?.transpose(0, 1).contiguous(); // [V + 2, processes, b]
    let all = Vec::<i64>::try_from(all.view([-1]))?;
    let num_pairs = all.len() / num_lists;
    let (ids, groups) = all.split_at(own.num_views() * num_pairs);
    let (has_group, groups) = groups.split_at(num_pairs);
    let groups =
        has_group.iter().zip(groups).map(|(&has_group, &bits)| (has_group == 1).then_some(GroupId(bits as u64)));
    let ids = ids.iter().map(|&bits| SampleId(bits as u64)).collect();
    Ok(SampleIds::new(own.num_views(), ids).with_groups(groups.collect()))
}
